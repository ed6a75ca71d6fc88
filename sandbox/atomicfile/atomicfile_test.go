package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func wantFile(t *testing.T, name, content string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil || string(b) != content {
		t.Errorf("%s holds %q, %v; not %q", filepath.Base(name), b, err, content)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(left) != 1 {
		t.Errorf("beside it are %v, %v", left, err)
	}
}

func TestReplace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "record")
	for _, content := range []string{"one", "a longer one", ""} {
		if err := Replace(name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		wantFile(t, name, content)
	}
	if err := Replace(filepath.Join(name, "x"), nil); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	wantFile(t, name, "")
}

func TestReserved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "record")
	spare := name + ".spare"
	if err := ReplaceReserved(name, spare, []byte("none was set aside")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, name, "none was set aside")
	for _, size := range []int64{1, 4096, 4096} { // also by a process that was killed
		if err := Reserve(spare, size); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(spare)
	if err != nil || info.Size() != 4096 {
		t.Fatalf("%v, %v", info, err)
	}
	if err := ReplaceReserved(name, spare, []byte("short")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, name, "short")
	if err := Reserve(spare, 1); err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("long "), 1000)
	if err := ReplaceReserved(name, spare, long); err != nil {
		t.Fatal(err)
	}
	wantFile(t, name, string(long))
}

// Nothing is written through a link, and what is too much names the file.
func TestReserveRefuses(t *testing.T) {
	dir := t.TempDir()
	spare := filepath.Join(dir, "spare")
	if err := os.Symlink("elsewhere", spare); err != nil {
		t.Fatal(err)
	}
	if err := Reserve(spare, 1); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link: %v", err)
	}
	if err := ReplaceReserved(filepath.Join(dir, "record"), spare, nil); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link: %v", err)
	}
	if err := Reserve(spare+"2", 1<<62); !Full(err) && !errors.Is(err, unix.EFBIG) || !errors.As(err, new(*fs.PathError)) {
		t.Errorf("more than there is: %v", err)
	}
}
