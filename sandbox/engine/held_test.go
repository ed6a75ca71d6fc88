package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// held runs a job whose changes stay in memory, and writes what it is.
func held(t *testing.T, s *Store, name, script string) *Container {
	t.Helper()
	sandboxtest.Need(t, "userns", "overlay", "unprivileged", "tmpfs-xattr")
	dir := t.TempDir()
	p, _, err := policy.Load(policy.LoadOptions{Shipped: configs.FS, Files: os.DirFS("/"), Name: "default", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	spec := sandbox.NewSpec(p, "sh", "-c", script)
	spec.Dir, spec.Filter = dir, configs.Filter
	c, err := s.Create(name)
	if err == nil {
		err = c.Hold(spec, nil, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	result, err := sandbox.Run(t.Context(), spec)
	if err != nil || result.Outcome != sandbox.OutcomeOK {
		t.Fatalf("%v %v", result, err)
	}
	if err := errors.Join(c.Finish(result, err), c.WriteHeld()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Unlock)
	t.Cleanup(c.Let)
	return c
}

// files are copies of what a container holds, as another process gets them.
func files(t *testing.T, c *Container) (lock, scratch *os.File) {
	t.Helper()
	a, b := c.HeldFiles()
	var list [2]*os.File
	for i, f := range []*os.File{a, b} {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = os.NewFile(uintptr(fd), f.Name())
	}
	return list[0], list[1]
}

// TestHeld: what one process holds another one opens, and makes a container.
func TestHeld(t *testing.T) {
	sandboxtest.Leaks(t)
	s := newStore(t)
	c := held(t, s, "", "echo new >new")
	if same, err := c.Unchanged(); same || err != nil || !c.Held() || c.Untouched() {
		t.Errorf("unchanged: %v %v", same, err)
	}
	lock, scratch := files(t, c)
	other, err := s.OpenHeld(c.ID, lock, scratch)
	if err != nil {
		t.Fatal(err)
	}
	o := other.Overlays()[0]
	if other.Name != "" || o.Held == nil || o.Kind != CowLayer || other.Run.Finished.IsZero() {
		t.Errorf("opened: %+v", o)
	}
	fd, err := unix.Openat(int(o.Held.Fd()), "new", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if list, err := s.List(); len(list) != 0 || err != nil {
		t.Errorf("others see %v %v", list, err)
	}
	if err := s.Sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(o.Upper, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := other.Stay(); err != nil {
		t.Fatal(err)
	}
	found, err := s.Find(other.Name)
	if err != nil || found.Overlays()[0].Held != nil || found.State() != Exited || found.ID != c.ID {
		t.Errorf("found %v %v", found, err)
	}
	other.Unlock()
}

// A run that changed nothing is known for that without a sandbox.
func TestHeldUnchanged(t *testing.T) {
	c := held(t, newStore(t), "", "cat /dev/null; touch /tmp/x")
	if same, err := c.Unchanged(); !same || err != nil || !c.Untouched() {
		t.Errorf("unchanged: %v %v", same, err)
	}
}

// What is not what it is said to be is refused, and a name that has been taken
// meanwhile is another one's.
func TestHeldRefused(t *testing.T) {
	s := newStore(t)
	c := held(t, s, "mine", "echo new >new")
	for _, tt := range []struct {
		name, id string
		change   func(lock, scratch **os.File)
		want     string
	}{
		{"id", "../../x", func(_, _ **os.File) {}, `"../../x" is no id`},
		{"another id", strings.Repeat("0", 64), func(_, _ **os.File) {}, "no such file or directory"},
		{"another lock", c.ID, func(lock, scratch **os.File) { *lock, *scratch = *scratch, *lock }, "the lock is another one's"},
		{"another scratch", c.ID, func(_, scratch **os.File) {
			(*scratch).Close()
			*scratch, _ = os.Open(s.Dir())
		}, "opening upper1 of the scratch: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lock, scratch := files(t, c)
			tt.change(&lock, &scratch)
			if _, err := s.OpenHeld(tt.id, lock, scratch); err == nil || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("error: %v, want %s", err, tt.want)
			}
		})
	}
	made(t, s, "mine")
	lock, scratch := files(t, c)
	other, err := s.OpenHeld(c.ID, lock, scratch)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Unlock()
	if err := other.Stay(); err != nil || other.Name == "mine" || other.Name == "" {
		t.Errorf("stays as %q: %v", other.Name, err)
	}
}

// TestSweepSettles: what was begun for a container that goes is ended first, and
// one for which it cannot be stays.
func TestSweepSettles(t *testing.T) {
	s := newStore(t)
	c := held(t, s, "", "echo new >new")
	c.Unlock()
	refused := errors.New("not now")
	err := s.Sweep(t.Context(), func(_ context.Context, found *Container) error {
		if found.ID != c.ID || len(found.Overlays()) != 1 || filepath.Dir(found.Dir()) != s.Dir() {
			t.Errorf("settling %v", found)
		}
		return refused
	})
	if left, lerr := s.Leftovers(); !errors.Is(err, refused) || len(left) != 1 || lerr != nil {
		t.Errorf("%v, left %v %v", err, left, lerr)
	}
	if err := s.Sweep(t.Context(), func(context.Context, *Container) error { return nil }); err != nil {
		t.Error(err)
	}
	if left, err := s.Leftovers(); len(left) != 0 || err != nil {
		t.Errorf("left %v %v", left, err)
	}
}
