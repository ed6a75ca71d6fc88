package userns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestStoredRange(t *testing.T) {
	o := AllocateOptions{FS: rootHost(), Dir: lockDir(t), Stored: filepath.Join(t.TempDir(), "brig", "range")}
	var wg sync.WaitGroup
	got := make([]Range, 20)
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = StoredRange(o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range got {
		if r != got[0] || r.Count != WantIDs {
			t.Errorf("%v and %v for one host", r, got[0])
		}
	}
	// Nobody else gets it, although nobody holds it.
	for range Slices - 1 {
		l, err := AllocateRange(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if l.Range == got[0] {
			t.Fatal("the stored range was given out")
		}
	}
	if _, err := AllocateRange(o); problem(err) != RangesExhausted {
		t.Errorf("one slice more than there are: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Stored), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	taken := o
	taken.FS = rootHost("etc/subuid", fmt.Sprintf("u:%d:10\n", got[0].Start+5))
	if _, err := StoredRange(taken); problem(err) != RangesExhausted || !strings.Contains(err.Error(), "has some of them now") {
		t.Errorf("ids that were given to somebody: %v", err)
	}
}

func TestStoredRangeUntrusted(t *testing.T) {
	o := AllocateOptions{FS: rootHost(), Dir: lockDir(t), Stored: filepath.Join(t.TempDir(), "range")}
	for _, tt := range []struct {
		content string
		mode    os.FileMode
	}{
		{"", 0o600},
		{"0\n", 0o600},
		{"100000\n", 0o600},
		{fmt.Sprintln(firstSlice + 1), 0o600},
		{fmt.Sprintln(firstSlice + Slices*WantIDs), 0o600},
		{fmt.Sprintln(firstSlice), 0o622},
		{fmt.Sprint(firstSlice) + strings.Repeat("0", 70), 0o600},
	} {
		if err := os.WriteFile(o.Stored, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(o.Stored, tt.mode); err != nil {
			t.Fatal(err)
		}
		for what, f := range map[string]func() error{
			"StoredRange":   func() error { _, err := StoredRange(o); return err },
			"AllocateRange": func() error { _, err := AllocateRange(o); return err },
		} {
			if err := f(); problem(err) != LockDirUnsafe {
				t.Errorf("%s, %q, mode %o: %v", what, tt.content, tt.mode, err)
			}
		}
	}
}

func problem(err error) Reason {
	var p *Problem
	if errors.As(err, &p) {
		return p.Reason
	}
	return ""
}
