package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/changes"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

// The descriptors that brig hands on with what a run has changed.
const (
	heldLock    = 3
	heldScratch = 4
)

// openHeld opens what brig holds of a run, in memory. What earlier ones that were
// killed have left is removed first.
func openHeld(id string) (*changer, func(), error) {
	unix.CloseOnExec(heldLock)
	unix.CloseOnExec(heldScratch)
	store, err := engine.OpenDefault()
	if err != nil {
		return nil, nil, err
	}
	c, err := store.OpenHeld(id, os.NewFile(heldLock, "lock"), os.NewFile(heldScratch, "scratch"))
	if err != nil {
		return nil, nil, err
	}
	x, err := newChanger(c)
	if err != nil {
		c.Unlock()
		return nil, nil, err
	}
	warnSweep(context.Background(), store)
	return x, c.Unlock, nil
}

// warnSweep sweeps, and says what could not be: it is nothing of this command's.
func warnSweep(ctx context.Context, store *engine.Store) {
	if err := sweep(ctx, store); err != nil {
		fmt.Fprintf(os.Stderr, "brig: %s\n", safe(err.Error()))
	}
}

// sweep removes what killed processes have left in the store of containers.
func sweep(ctx context.Context, store *engine.Store) error {
	return store.Sweep(ctx, func(_ context.Context, c *engine.Container) error { return endApplies(c) })
}

// endApplies ends what was being applied of a container that is about to go: what
// had been moved aside goes, or is put back.
func endApplies(c *engine.Container) error {
	x := &changer{c: c}
	overlays := c.Overlays()
	for i := range overlays {
		o := &overlays[i]
		if o.Kind != engine.CowLayer || !changes.Pending(x.journalFile(o)) {
			continue
		}
		if err := x.recover(o); err != nil {
			return err
		}
	}
	left, err := filepath.Glob(filepath.Join(c.Dir(), "apply*.journal"))
	if len(left) > 0 {
		err = fmt.Errorf("nobody knows what %s is about\n  fix: look for files named .brig-apply-* where it says, and remove %s", strings.Join(left, ", "), c.Dir())
	}
	return err
}

// recover ends an application whose changes are gone.
func (x *changer) recover(o *engine.Overlay) error {
	target, _, err := x.target(o, false)
	if errors.Is(err, os.ErrNotExist) && !exists(o.Source) {
		return os.Remove(x.journalFile(o)) // with its directory all is gone
	}
	if err != nil {
		return fmt.Errorf("%w\n  fix: look for files named .brig-apply-* in %s, and remove %s", err, o.Source, x.c.Dir())
	}
	defer target.Close()
	if err := target.Begin(x.journalFile(o)); err != nil {
		return err
	}
	if err := target.Finish(); err != nil {
		return err
	}
	return os.Remove(x.journalFile(o))
}

// store copies the uppers of held overlays to the container's directory, and
// makes it a container that others see.
func (r *reviewer) store(ctx context.Context) (err error) {
	// A second signal must not end what keeps the changes. When that has failed
	// one does, and brig has another process try.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	defer func() {
		if err != nil {
			signal.Reset(unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
		}
	}()
	if err := r.c.CheckData(); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if err := os.Lchown(r.c.Data(), int(r.c.IDs.CloneUID), int(r.c.IDs.CloneGID)); err != nil {
			return err
		}
	}
	overlays := r.c.Overlays()
	for i := range overlays {
		o := &overlays[i]
		// A copy that failed before is no beginning of this one.
		err := r.c.DropUpper(ctx, o)
		if err == nil {
			err = r.order(ctx, o, ask{What: askCopy, To: filepath.Join(insideData, filepath.Base(o.Upper))})
		}
		if err != nil {
			return errors.Join(err, r.c.DropUpper(ctx, o))
		}
	}
	if err := r.c.Stay(); err != nil {
		return err
	}
	overlays = r.c.Overlays()
	for i := range overlays {
		o := &overlays[i]
		if done := r.applied[o.Number]; len(done) > 0 {
			if err := r.do(ctx, o, askSettle, slices.Sorted(maps.Keys(done))); err != nil {
				// It is there all the same, and no difference.
				fmt.Fprintf(os.Stderr, "brig: what has been applied stays in the container's layer: %s\n", safe(err.Error()))
			}
		}
	}
	clear(r.applied)
	return nil
}

func exists(dir string) bool {
	_, err := os.Lstat(dir)
	return err == nil
}
