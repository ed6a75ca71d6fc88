package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox"
)

// Container is a container of a store, with its record as it was when it was
// last read.
type Container struct {
	Record

	store *Store
	dir   string
	held  *os.File // the lock, while this process holds it

	hold   *sandbox.Hold // of a run whose changes stay in memory
	policy []byte        // its policy.toml, not written yet
	uppers []*os.File    // of a held container, in memory

	fresh   bool     // made by this process: nothing has run on it
	begun   bool     // a run of this process's is on record
	diffIDs []string // of the image, until the layers are known
}

// Dir is the container's directory.
func (c *Container) Dir() string { return c.dir }

// Data is the directory that holds the uppers.
func (c *Container) Data() string { return filepath.Join(c.dir, "data") }

// PolicyFile is where the policy of each run is.
func (c *Container) PolicyFile() string { return filepath.Join(c.dir, "policy.toml") }

// Short is the id as tables show it.
func (c *Container) Short() string { return c.ID[:12] }

// Overlay is one overlay of a container, with its paths on the host.
type Overlay struct {
	Number int // from 1
	Kind   LayerKind
	Target string // inside
	// Source is the host's directory; empty where the lowers are an image's.
	Source string
	// Lower are the directories below the upper, bottom first. Brig's own layer,
	// which lies between them and the upper of a root while it runs, is gone.
	Lower []string
	// Upper and Work may be missing, where the container has never run.
	Upper, Work string
	// Held is the upper itself where it is in memory; nil where Upper is it.
	Held *os.File `json:"-"`
	// Base is the file with what Source held when the job first ran on it; see
	// ReadBase. Only of a cow.
	Base string
}

// Overlays are the container's overlays: the root's first, where it has one.
func (c *Container) Overlays() []Overlay {
	list := make([]Overlay, len(c.Layers))
	for i, l := range c.Layers {
		n := strconv.Itoa(i + 1)
		o := Overlay{
			Number: i + 1, Kind: l.Kind, Target: string(l.Target), Source: string(l.Source),
			Upper: filepath.Join(c.Data(), "upper"+n), Work: filepath.Join(c.Data(), "work"+n),
		}
		switch {
		case l.Source != "":
			o.Lower = []string{string(l.Source)}
		case c.Image != nil:
			for _, d := range l.DiffIDs {
				o.Lower = append(o.Lower, filepath.Join(c.store.images, "layers", c.Image.Map, trimAlgorithm(d), "tree"))
			}
		}
		if c.uppers != nil {
			o.Held = c.uppers[i]
		}
		if l.Kind == CowLayer {
			o.Base = filepath.Join(c.dir, "base"+n)
		}
		list[i] = o
	}
	return list
}

func trimAlgorithm(digest string) string {
	const prefix = "sha256:"
	if len(digest) > len(prefix) && digest[:len(prefix)] == prefix {
		return filepath.Base(digest[len(prefix):])
	}
	return filepath.Base(digest)
}

// reload reads the record.
func (c *Container) reload() error {
	b, err := readFile(filepath.Join(c.dir, "container.json"), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has just been removed", ErrNotFound, filepath.Base(c.dir))
	}
	var r *Record
	if err == nil {
		r, err = parseRecord(b)
	}
	if err == nil && r.ID != filepath.Base(c.dir) {
		err = errors.New("it is another container's")
	}
	if err != nil {
		return fmt.Errorf("container %s: its record cannot be read: %w\n  fix: remove the directory %s, or put the record back", filepath.Base(c.dir), err, c.dir)
	}
	c.Record = *r
	return nil
}

// Mode is how a container is locked.
type Mode int

// The modes of locks.
const (
	Shared    Mode = unix.LOCK_SH // its layers are read
	Exclusive Mode = unix.LOCK_EX // it runs, or its layers are changed
)

// patience is how long Lock waits: the sandbox of a brig that was killed ends a
// moment later.
const patience = 500 * time.Millisecond

// Lock locks a container and reads its record anew. Its errors wrap ErrBusy or
// ErrNotFound.
func (c *Container) Lock(mode Mode) (release func(), err error) {
	deadline := time.Now().Add(patience)
	for {
		err = c.lockFile(0, int(mode))
		if !errors.Is(err, ErrBusy) || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err == nil {
		if err = c.reload(); err != nil {
			c.unlock()
		}
	}
	if errors.Is(err, ErrBusy) {
		return nil, fmt.Errorf("container %s is %w%s", c.Name, ErrBusy, c.by())
	}
	if err != nil {
		return nil, err
	}
	return c.unlock, nil
}

// by says by whom a container seems to be used.
func (c *Container) by() string {
	if c.reload() == nil && c.Run != nil && c.Run.Finished.IsZero() {
		return ": it is running\n  fix: wait for its end, or end it"
	}
	return " by another command\n  fix: try again when that has ended"
}

// lockName is the file in a container's directory whose lock is the container's.
const lockName = "lock"

// lockFile takes the lock without waiting.
func (c *Container) lockFile(flags, how int) error {
	name := filepath.Join(c.dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has just been removed", ErrNotFound, filepath.Base(c.dir))
	}
	if err != nil {
		return fmt.Errorf("locking a container: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		// It may have been removed, or moved away for that, in between.
		here, serr := os.Lstat(name)
		locked, ferr := f.Stat()
		if serr == nil && ferr == nil && os.SameFile(here, locked) {
			c.held = f
			return nil
		}
		err = fmt.Errorf("%w: %s has just been removed", ErrNotFound, filepath.Base(c.dir))
	} else if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrBusy
	}
	f.Close()
	return err
}

// Fresh tells whether this process has made the container.
func (c *Container) Fresh() bool { return c.fresh }

// Untouched tells whether no run has changed anything yet.
func (c *Container) Untouched() bool {
	if c.Held() {
		same, err := c.Unchanged()
		return same && err == nil
	}
	for _, o := range c.Overlays() {
		entries, err := os.ReadDir(o.Upper)
		if len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// Unlock gives back the lock of a container that Create made.
func (c *Container) Unlock() { c.unlock() }

func (c *Container) unlock() {
	if c.held != nil {
		c.held.Close()
		c.held = nil
	}
}

// LockFD is the descriptor that holds the lock, for the sandbox's init to hold as
// well. -1 where this process holds none.
func (c *Container) LockFD() int {
	if c.held == nil {
		return -1
	}
	return int(c.held.Fd())
}

// State is what a container is doing.
type State string

// The states of containers.
const (
	Created State = "created" // it has never run
	Running State = "running"
	Exited  State = "exited"
	Dead    State = "dead" // brig was killed while it ran
)

// State looks at the lock and the record.
func (c *Container) State() State {
	switch {
	case c.Run == nil:
		return Created
	case !c.Run.Finished.IsZero():
		return Exited
	}
	probe := Container{store: c.store, dir: c.dir}
	err := probe.lockFile(0, unix.LOCK_SH)
	probe.unlock()
	if errors.Is(err, ErrBusy) {
		return Running
	}
	return Dead
}

// Remove removes a container that this process has locked exclusively, or that
// Create has made, with everything in it. It is gone for others at once.
func (c *Container) Remove(ctx context.Context) error {
	defer c.unlock()
	to := filepath.Join(c.store.dir, gonePrefix+c.ID)
	if err := os.Rename(c.dir, to); err != nil {
		return fmt.Errorf("removing container %s: %w", c.Name, err)
	}
	c.dir = to
	if err := c.destroy(ctx); err != nil {
		return fmt.Errorf("removing container %s: %w", c.Name, err)
	}
	return nil
}

// destroy removes the container's directory; what belongs to other ids with
// those. The lock goes last, and with the directory for a sweep elsewhere, which
// would make a new one in between.
func (c *Container) destroy(ctx context.Context) error {
	if err := os.RemoveAll(c.Data()); err != nil {
		if len(c.IDs.UID) == 0 {
			return err // nothing has run on it
		}
		if err := sandbox.RemoveOwned(ctx, &c.IDs, c.Data()); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(c.dir)
	for _, e := range entries {
		if err == nil && e.Name() != lockName {
			err = os.RemoveAll(filepath.Join(c.dir, e.Name()))
		}
	}
	if err != nil {
		return err
	}
	unlock, err := c.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return os.RemoveAll(c.dir)
}
