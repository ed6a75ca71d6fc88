package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteResultReplacesAFileWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "r.json")
	if err := os.WriteFile(name, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := WriteResult(name, sampleResult()); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, name); got != sampleJSON+"\n" {
		t.Errorf("file holds %q", got)
	}
	if b, _ := io.ReadAll(old); string(b) != "old" {
		t.Errorf("the old file was written into: %q", b)
	}
	st, err := os.Stat(name)
	if err != nil || st.Mode() != 0o640 {
		t.Errorf("mode %v (%v), want that of the old file", st.Mode(), err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestWriteResultInThisDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := WriteResult("r.json", sampleResult()); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, "r.json"); got != sampleJSON+"\n" {
		t.Errorf("file holds %q", got)
	}
}

func TestWriteToDescriptorAndFIFO(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	got := make([]byte, len(sampleJSON)+1)
	for _, form := range []string{"fd:%d", "/dev/fd/%d", "/proc/self/fd/%d"} {
		if err := WriteResult(fmt.Sprintf(form, w.Fd()), sampleResult()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, got); err != nil || string(got) != sampleJSON+"\n" {
			t.Errorf("%s: read %q (%v)", form, got, err)
		}
	}
	if _, err := w.Write([]byte("still open")); err != nil {
		t.Errorf("the caller's descriptor was closed: %v", err)
	}

	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() { b, _ := os.ReadFile(fifo); read <- string(b) }()
	if err := WriteMeta(fifo, NewResult(ended(Evidence{}, exited0))); err != nil {
		t.Fatal(err)
	}
	if b := <-read; !strings.HasSuffix(b, "exitcode:0\n") {
		t.Errorf("the FIFO carried %q", b)
	}
}

func TestReportRefusals(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	link := filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	ro, err := os.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	for _, c := range []struct {
		dest, text string
		is         error
	}{
		{link, "it is a symbolic link (too many levels of symbolic links); name the file itself", unix.ELOOP},
		{dir, "is a directory; name a file in it", unix.EISDIR},
		{dir + "/", "no file name; use a file's path, fd:N or -", nil},
		{"", "no file name; use a file's path, fd:N or -", nil},
		{filepath.Join(dir, "none", "r.json"), "its directory: no such file or directory", unix.ENOENT},
		{filepath.Join(target, "r.json"), "its directory: not a directory", unix.ENOTDIR},
		{"fd:x", `"x" is no descriptor number; use fd:3 or a file's path`, nil},
		{"fd:-1", `"-1" is no descriptor number; use fd:3 or a file's path`, nil},
		{"fd:99999", "descriptor 99999 is not open: bad file descriptor", unix.EBADF},
		{fmt.Sprint("fd:", ro.Fd()), fmt.Sprintf("descriptor %d is open for reading only: bad file descriptor", ro.Fd()), unix.EBADF},
	} {
		_, err := OpenReport(c.dest)
		want := fmt.Sprintf("write the result to %q: %s", c.dest, c.text)
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", c.dest, err, want)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%q: error %v is not %v", c.dest, err, c.is)
		}
	}
	if got := readFile(t, target); got != "precious" {
		t.Errorf("the link's target holds %q", got)
	}
}

// A job that may write the destination's directory swaps it for a link while
// it runs (the lesson of CVE-2024-28185: never follow a link the job left).
func TestSwappedDestinationIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	work := filepath.Join(dir, "work")
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Mkdir(work, 0o700)); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReport(filepath.Join(work, "r.json"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if err := os.Symlink(victim, filepath.Join(work, "r.json")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(work, work+"2"), os.Symlink(dir, work)); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteResult(sampleResult()); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, victim); got != "precious" {
		t.Errorf("the victim holds %q", got)
	}
	if got := readFile(t, filepath.Join(work+"2", "r.json")); got != sampleJSON+"\n" {
		t.Errorf("the result is %q", got)
	}
}

func TestResultOnAFullDisk(t *testing.T) {
	sandboxtest.Need(t, "dev-full")
	err := WriteResult("/dev/full", sampleResult())
	if !errors.Is(err, unix.ENOSPC) || err.Error() != `write the result to "/dev/full": no space left on device` {
		t.Errorf("error %v", err)
	}
}

// The same on a real file system, where the temporary file must go again.
func TestResultOnAFullFileSystem(t *testing.T) {
	n := startNest(t, "f = open('/mnt/fill', 'wb', 0)\ntry:\n  while True: f.write(bytes(1 << 20))\nexcept OSError: pass\n"+
		"open('/mnt/r.json', 'w').close()\n"+ready)
	dir := n.root + "/mnt"
	name := filepath.Join(dir, "r.json")
	if err := WriteResult(name, sampleResult()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v, want ENOSPC", err)
	}
	if got := readFile(t, name); got != "" {
		t.Errorf("the old, empty file holds %q", got)
	}
	if names, _ := os.ReadDir(dir); len(names) != 2 {
		t.Errorf("left behind: %v", names)
	}
}
