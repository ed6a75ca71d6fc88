package sandbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func inputFile(t *testing.T, content string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestInputArrivesWhole(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 20000)
	for name, source := range map[string]func(*testing.T) io.Reader{
		"file":   func(t *testing.T) io.Reader { return inputFile(t, content) },
		"reader": func(*testing.T) io.Reader { return strings.NewReader(content) },
		"pipe": func(t *testing.T) io.Reader {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close() })
			go func() { _, _ = io.WriteString(w, content); _ = w.Close() }()
			return r
		},
		"socket": func(t *testing.T) io.Reader {
			p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			w, r := os.NewFile(uintptr(p[0]), "w"), os.NewFile(uintptr(p[1]), "r")
			t.Cleanup(func() { _ = r.Close() })
			go func() { _, _ = io.WriteString(w, content); _ = w.Close() }()
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := openFDs(t)
			in := source(t)
			var out bytes.Buffer
			j := startJob(t, in, &out, nil, Unknown, "cat")
			if err := j.wait(t, -1); err != nil {
				t.Fatal(err)
			}
			if out.String() != content {
				t.Errorf("%d bytes arrived, want %d", out.Len(), len(content))
			}
			if c, ok := in.(io.Closer); ok {
				_ = c.Close()
			}
			time.Sleep(10 * time.Millisecond)
			if after := openFDs(t); after > before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
		})
	}
}

// A script's file is left where the job stopped reading, as without brig.
func TestUnreadInputStaysWithTheCaller(t *testing.T) {
	for _, c := range []struct {
		name, script string
		offset       int64
	}{
		{"nothing", "true", 5},
		{"ten bytes", "head -c 10 >/dev/null", 15},
		{"closed", "exec <&-; sleep 0.1", 5},
		{"all", "cat >/dev/null", 200000},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := inputFile(t, strings.Repeat("x", 200000))
			if _, err := f.Seek(5, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			j := startJob(t, f, nil, nil, Unknown, c.script)
			if err := j.wait(t, -1); err != nil {
				t.Fatal(err)
			}
			if got, _ := f.Seek(0, io.SeekCurrent); got != c.offset {
				t.Errorf("the file is at %d, want %d", got, c.offset)
			}
		})
	}
}

// The job's 0 can be opened again for writing; what is behind it must not be
// the caller's file.
func TestInputFileCannotBeWritten(t *testing.T) {
	f, err := os.OpenFile(inputFile(t, "precious").Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	j := startJob(t, f, nil, nil, Unknown, "echo overwritten >/proc/self/fd/0; echo again 1>&0; true")
	if err := j.wait(t, -1); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q (%v)", b, err)
	}
}

func TestInputThatNeverEndsDoesNotHoldTheResult(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for name, in := range map[string]io.Reader{"pipe": r, "reader": struct{ io.Reader }{r}} {
		t.Run(name, func(t *testing.T) {
			j := startJob(t, in, nil, nil, Unknown, "true")
			start := time.Now()
			if err := j.wait(t, -1); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("finish took %v", d)
			}
		})
	}
}

func TestNullAndDirectoryInput(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, in := range []io.Reader{nil, (*os.File)(nil), null} {
		s, err := openStdio(in, nil, nil, Unknown, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.jobEnds != [3]int{-1, -1, -1} {
			t.Errorf("job's ends are %v, want /dev/null for all", s.jobEnds)
		}
		s.close()
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	_, err = openStdio(dir, nil, nil, Unknown, nil)
	if !errors.Is(err, unix.EISDIR) || err.Error() != "standard input: is a directory; give a file" {
		t.Errorf("error %v", err)
	}
}
