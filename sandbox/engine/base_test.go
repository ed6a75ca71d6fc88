package engine

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBaseRoundTrip(t *testing.T) {
	dir := t.TempDir()
	names := []string{".", "a", "a/b", "a/b/c\nd", "a-", "a\xff", "link", "z"}
	for _, d := range []string{"a/b", "z"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"a/b/c\nd", "a-", "a\xff"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(f), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "base1")
	if err := WriteBase(file, dir); err != nil {
		t.Fatal(err)
	}
	got, complete, err := ReadBase(file, nil)
	if err != nil || !complete || len(got) != len(names) {
		t.Fatalf("%d names, complete %v, %v", len(got), complete, err)
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		if got[name] != StatOf(&st) {
			t.Errorf("%q: %+v, on disk %+v", name, got[name], StatOf(&st))
		}
	}
	some, _, err := ReadBase(file, func(p string) bool { return p == "a/b" })
	if err != nil || len(some) != 1 {
		t.Errorf("one wanted: %v %v", some, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".base-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestBaseDamaged: no byte of a base can change, and none be missing, unseen.
func TestBaseDamaged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "base1")
	if err := WriteBase(file, dir); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 1
		for _, content := range [][]byte{whole[:i], bad} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := ReadBase(file, nil); !errors.Is(err, errBase) {
				t.Errorf("byte %d of %d: %v", i, len(whole), err)
			}
		}
	}
}

func BenchmarkWriteBase(b *testing.B) {
	dir := b.TempDir()
	const files = 10_000
	for i := range files {
		sub := filepath.Join(dir, string(rune('a'+i%26)), string(rune('a'+i/26%26)))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "file"+string(rune('a'+i/676))), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	file := filepath.Join(b.TempDir(), "base1")
	for b.Loop() {
		if err := WriteBase(file, dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/file")
	if info, err := os.Stat(file); err == nil {
		b.ReportMetric(float64(info.Size())/files, "bytes/file")
	}
}

func TestReplaceBase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "base1")
	names := map[string]Stat{".": {Inode: 1, Mode: 0o40755}, "a": {Inode: 2, Size: 7, MTime: unix.Timespec{Sec: -1, Nsec: 5}}, "a/b": {Inode: 3, UID: 9}}
	for _, complete := range []bool{true, false} {
		if err := ReplaceBase(file, names, complete); err != nil {
			t.Fatal(err)
		}
		got, whole, err := ReadBase(file, nil)
		if err != nil || whole != complete || !maps.Equal(got, names) {
			t.Errorf("%v, complete %v, %v", got, whole, err)
		}
	}
}
