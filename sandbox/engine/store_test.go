package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	s, err := OpenStore(filepath.Join(dir, "containers"), filepath.Join(dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// made is a container that has been published and let go.
func made(t *testing.T, s *Store, name string) *Container {
	t.Helper()
	c, err := s.Create(name)
	if err == nil {
		err = c.Publish()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Unlock()
	return c
}

func names(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestStore(t *testing.T) {
	s := newStore(t)
	if list, err := s.List(); err != nil || list != nil {
		t.Fatalf("a store that is not there: %v %v", list, err)
	}
	a, b := made(t, s, "box"), made(t, s, "")
	if err := CheckName(b.Name); err != nil || !strings.Contains(b.Name, "_") {
		t.Errorf("made up %q: %v", b.Name, err)
	}
	if _, err := s.Create("box"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("a name twice: %v", err)
	}
	for _, ref := range []string{"box", a.ID, a.ID[:12]} {
		if c, err := s.Find(ref); err != nil || c.ID != a.ID {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := s.Find(""); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing: %v", err)
	}
	// A name goes before the digits of an id.
	d := made(t, s, a.ID[:3])
	if c, err := s.Find(a.ID[:3]); err != nil || c.ID != d.ID {
		t.Errorf("a name of digits: %v", err)
	}
	release, err := a.Lock(Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Find("box")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Lock(Shared); !errors.Is(err, ErrBusy) {
		t.Errorf("locked twice: %v", err)
	}
	release()
	letGo, err := other.Lock(Shared)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Find("box")
	if err != nil {
		t.Fatal(err)
	}
	again, err := second.Lock(Shared)
	if err != nil {
		t.Errorf("read by two: %v", err)
	}
	again()
	letGo()
	if _, err := a.Lock(Exclusive); err != nil {
		t.Fatal(err)
	}
	if err := a.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Lock(Exclusive); !errors.Is(err, ErrNotFound) {
		t.Errorf("locking what was removed: %v", err)
	}
	if _, err := s.Find("box"); !errors.Is(err, ErrNotFound) {
		t.Errorf("finding what was removed: %v", err)
	}
}

// TestSweep: what is being made or removed by the living stays.
func TestSweep(t *testing.T) {
	s := newStore(t)
	made(t, s, "kept")
	living, err := s.Create("living")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := s.Create("dead")
	if err != nil {
		t.Fatal(err)
	}
	dead.Unlock() // as the kernel does with a killed process's
	gone := made(t, s, "gone")
	if err := os.Rename(gone.Dir(), filepath.Join(s.Dir(), gonePrefix+gone.ID)); err != nil {
		t.Fatal(err)
	}
	left, err := s.Leftovers()
	if want := []string{gonePrefix + gone.ID, newPrefix + dead.ID}; err != nil || !cmp.Equal(left, want) {
		t.Errorf("left over: %v %v", left, err)
	}
	if err := s.Sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if list := names(t, s); len(list) != 3 || list[0] != newPrefix+living.ID {
		t.Errorf("after the sweep: %v", list)
	}
	if err := living.Publish(); err != nil {
		t.Fatal(err)
	}
	living.Unlock()
	if c, err := s.Find("living"); err != nil || c.State() != Created {
		t.Errorf("published after a sweep: %v", err)
	}
}

func TestState(t *testing.T) {
	s := newStore(t)
	c := made(t, s, "c")
	release, err := c.Lock(Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	c.Run = &Run{Started: time.Now()}
	if err := c.Save(); err != nil || c.State() != Running {
		t.Errorf("locked: %s %v", c.State(), err)
	}
	release()
	if c.State() != Dead {
		t.Errorf("not locked: %s", c.State())
	}
	c.Run.Finished = time.Now()
	if c.State() != Exited {
		t.Errorf("finished: %s", c.State())
	}
}

// TestRecord: what is no UTF-8 comes back as it was, and what is another
// version's is not guessed at.
func TestRecord(t *testing.T) {
	s := newStore(t)
	c, err := s.Create("c")
	if err != nil {
		t.Fatal(err)
	}
	c.Job = Job{Args: List([]string{"a", "\xff\x00\"", "é"}), Env: List(nil), Dir: "/d\xfe"}
	if err := c.Publish(); err != nil {
		t.Fatal(err)
	}
	c.Unlock()
	found, err := s.Find("c")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c.Record, found.Record); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		`{`:                         "unexpected end of JSON input",
		`{"version": 2}`:            "it has version 2, and this brig knows 1",
		`{"version": 1}`:            "its id or name is not one",
		strings.Repeat(" ", 65<<20): "container.json has more than 67108864 bytes",
	} {
		if err := os.WriteFile(filepath.Join(c.Dir(), "container.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Find("c"); err == nil || !strings.Contains(err.Error(), want+"\n  fix: remove the directory") {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

// TestCheckUpper: a file system that cannot hold uppers is refused before
// anything runs.
func TestCheckUpper(t *testing.T) {
	if err := checkUpper(t.TempDir()); err != nil {
		t.Error(err)
	}
	for dir, want := range map[string]string{
		"/proc/self": "/proc/self cannot hold the layers of containers: its file system (type 9fa0) takes no user.* attributes: ",
		"/nowhere":   "/nowhere cannot hold the layers of containers: no such file or directory\n  fix: set XDG_DATA_HOME to a directory on ext4, xfs, btrfs or tmpfs",
	} {
		if err := checkUpper(dir); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "A-b_c.9": true, strings.Repeat("x", 64): true,
		"": false, "-a": false, ".a": false, "a b": false, "a/b": false, "a\n": false, "é": false, strings.Repeat("x", 65): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestSweepBeside: a sweep is no matter for those that make and remove containers
// meanwhile.
func TestSweepBeside(t *testing.T) {
	s := newStore(t)
	made(t, s, "first")
	var work, look sync.WaitGroup
	ended := make(chan struct{})
	for range 2 {
		look.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if err := s.Sweep(t.Context(), nil); err != nil {
					t.Error(err)
				}
				if _, err := s.Leftovers(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		work.Go(func() {
			for range 100 {
				c, err := s.Create("")
				if err == nil {
					err = c.Publish()
				}
				if err == nil {
					err = c.Remove(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	close(ended)
	look.Wait()
	if list := names(t, s); len(list) != 2 {
		t.Errorf("left: %v", list)
	}
}
