package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/atomicfile"
)

// Hold makes the run of a spec the only one of a container that Create made, and
// has its uppers stay in memory when it has ended. The container is no more than
// a place for what has to be on a disk: the record of the host's directories, and
// later the journals of what is applied to them. Nobody sees it, and a sweep
// removes it when this process has been killed. Where the uppers cannot be in
// memory, the run is that of a kept container.
func (c *Container) Hold(spec *sandbox.Spec, image *ImageRef, diffIDs []string) error {
	if err := c.recordJob(spec, image, diffIDs); err != nil {
		return err
	}
	c.hold = &sandbox.Hold{
		Dir:      filepath.Join(c.store.dir, c.ID, "data"),
		Resolved: func(res *sandbox.Resolution) error { return c.prepare(res, false) },
		Keep: func() (*sandbox.Keep, error) {
			c.hold = nil
			if err := c.Describe(spec, image, diffIDs); err != nil {
				return nil, err
			}
			c.Keep(spec)
			return spec.Keep, nil
		},
	}
	spec.Hold = c.hold
	return nil
}

// Held tells whether the changes of this process's run are in memory.
func (c *Container) Held() bool { return c.hold != nil && c.hold.Scratch != nil }

// Holding tells whether the run was one of Hold's, and not of a kept container.
func (c *Container) Holding() bool { return c.hold != nil }

// HeldFiles are what OpenHeld needs in another process: the lock, and the scratch
// that the uppers are in.
func (c *Container) HeldFiles() (lock, scratch *os.File) { return c.held, c.hold.Scratch }

// Unchanged tells whether the run has put nothing into the uppers of directories
// that were given copy-on-write.
func (c *Container) Unchanged() (bool, error) {
	uppers, err := c.openUppers(c.hold.Scratch, unix.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer closeFiles(uppers)
	for i, f := range uppers {
		if c.Layers[i].Kind != CowLayer {
			continue
		}
		if names, err := f.Readdirnames(1); len(names) > 0 || err == nil {
			return false, nil
		}
	}
	return true, nil
}

// Let ends what Hold began: the changes that nobody has kept are gone.
func (c *Container) Let() {
	if c.Held() {
		c.hold.Scratch.Close()
	}
}

// heldName stands for the name of a container that has none before it is kept.
func (c *Container) heldName() string { return "held-" + c.ID[:32] }

// WriteHeld writes what OpenHeld reads in another process, which this one has
// wait for.
func (c *Container) WriteHeld() error {
	if err := atomicfile.Replace(c.PolicyFile(), c.policy); err != nil {
		return fmt.Errorf("writing the record of a container: %w", err)
	}
	if c.Name == "" {
		c.Name = c.heldName()
		defer func() { c.Name = "" }()
	}
	return c.Save()
}

// OpenHeld opens what another process has held and written. The files are those
// of its HeldFiles, and the container's from then on.
func (s *Store) OpenHeld(id string, lock, scratch *os.File) (*Container, error) {
	if !validID(id) {
		return nil, fmt.Errorf("%q is no id", clip(id))
	}
	c := &Container{store: s, dir: filepath.Join(s.dir, newPrefix+id), held: lock}
	b, err := readFile(filepath.Join(c.dir, "container.json"), maxRecord)
	if err == nil {
		var r *Record
		if r, err = parseRecord(b); err == nil {
			c.Record = *r
		}
	}
	if err == nil && c.ID != id {
		err = errors.New("it is another one's")
	}
	if err == nil {
		err = c.holdsLock()
	}
	if err == nil {
		c.uppers, err = c.openUppers(scratch, unix.O_PATH)
	}
	scratch.Close()
	if err != nil {
		c.unlock()
		return nil, fmt.Errorf("reading what a run has changed: %w", err)
	}
	if c.Name == c.heldName() {
		c.Name = ""
	}
	return c, nil
}

// holdsLock tells whether what is held is the container's own lock.
func (c *Container) holdsLock() error {
	here, err := os.Lstat(filepath.Join(c.dir, "lock"))
	if err != nil {
		return err
	}
	mine, err := c.held.Stat()
	if err == nil && !os.SameFile(here, mine) {
		err = errors.New("the lock is another one's")
	}
	return err
}

// openUppers opens the uppers in a scratch, which are init's own directories:
// what is in them is the job's.
func (c *Container) openUppers(scratch *os.File, how int) ([]*os.File, error) {
	var list []*os.File
	for i := range c.Layers {
		name := "upper" + strconv.Itoa(i+1)
		fd, err := unix.Openat(int(scratch.Fd()), name, how|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			closeFiles(list)
			return nil, fmt.Errorf("opening %s of the scratch: %w", name, err)
		}
		list = append(list, os.NewFile(uintptr(fd), name))
	}
	return list, nil
}

func closeFiles(list []*os.File) {
	for _, f := range list {
		f.Close()
	}
}

// CheckData tells whether overlayfs takes the container's directory for uppers.
func (c *Container) CheckData() error { return checkUpper(c.Data()) }

// Stay makes a held container, whose uppers have been copied to their places in
// Data, one that others see. A name that somebody has taken meanwhile becomes
// another one.
func (c *Container) Stay() error {
	for _, o := range c.Overlays() {
		if o.Kind != CowLayer {
			continue
		}
		f, err := os.Open(o.Base)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return fmt.Errorf("keeping a container: %w", err)
		}
	}
	err := c.Publish()
	if errors.Is(err, ErrNameTaken) {
		c.Name = ""
		err = c.Publish()
	}
	if err == nil {
		closeFiles(c.uppers)
		c.uppers = nil
	}
	return err
}

// DropUpper removes what is at an overlay's place for its upper.
func (c *Container) DropUpper(ctx context.Context, o *Overlay) error {
	err := os.RemoveAll(o.Upper)
	if err != nil {
		err = sandbox.RemoveOwned(ctx, &c.IDs, o.Upper)
	}
	return err
}
