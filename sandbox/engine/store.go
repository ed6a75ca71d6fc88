package engine

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/atomicfile"
	"github.com/brig-sandbox/brig/userns"
)

// Store is a directory of containers. Any number of processes may use one.
type Store struct {
	dir    string
	images string // the store of images that containers' trees are in
}

// ErrNotFound is wrapped where there is no such container.
var ErrNotFound = errors.New("no such container")

// ErrBusy is wrapped where a container is running, or somebody changes or reads
// its layers.
var ErrBusy = errors.New("in use")

// ErrNameTaken is wrapped where another container has the name.
var ErrNameTaken = errors.New("the name is taken")

// DefaultDir is where the caller's containers are.
func DefaultDir() (string, error) {
	if os.Getuid() == 0 {
		return "/var/lib/brig/containers", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "brig/containers"), nil
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/share/brig/containers"), nil
	}
	return "", errors.New("there is no place for containers: neither XDG_DATA_HOME nor HOME is set\n  fix: set XDG_DATA_HOME to a directory of your own")
}

// OpenStore opens the store in a directory, which is absolute; images is the
// directory of the store of images. Nothing is made before a container is.
func OpenStore(dir, images string) (*Store, error) {
	if !filepath.IsAbs(dir) || !filepath.IsAbs(images) {
		return nil, fmt.Errorf("the store's directory %q, or %q, is not absolute", dir, images)
	}
	return &Store{dir: filepath.Clean(dir), images: filepath.Clean(images)}, nil
}

// OpenDefault opens the caller's store.
func OpenDefault() (*Store, error) {
	dir, err := DefaultDir()
	if err != nil {
		return nil, err
	}
	return OpenStore(dir, filepath.Join(filepath.Dir(dir), "images"))
}

// Dir is the store's directory.
func (s *Store) Dir() string { return s.dir }

func validID(id string) bool {
	_, err := hex.DecodeString(id)
	return err == nil && len(id) == 64 && strings.ToLower(id) == id
}

// lock takes the store's lock and returns what gives it back.
func (s *Store) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the containers: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking the containers: %w", err)
		}
	}
}

// List is every container, the newest first. What cannot be read is an error
// that names it, beside those that can.
func (s *Store) List() ([]*Container, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the containers: %w", err)
	}
	var list []*Container
	var errs []error
	for _, e := range entries {
		if !validID(e.Name()) {
			continue
		}
		c, err := s.read(e.Name())
		switch {
		case errors.Is(err, ErrNotFound): // it has just gone
		case err != nil:
			errs = append(errs, err)
		default:
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *Container) int { return b.Created.Compare(a.Created) })
	return list, errors.Join(errs...)
}

// Find is the container of a name, an id, or the first digits of one id alone. A
// whole id goes before a name, a name before digits.
func (s *Store) Find(ref string) (*Container, error) {
	list, err := s.List()
	var found []*Container
	for _, c := range list {
		switch {
		case c.ID == ref:
			return c, nil
		case c.Name == ref:
			found = []*Container{c}
		case len(found) == 1 && found[0].Name == ref:
		case ref != "" && strings.HasPrefix(c.ID, ref):
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%q begins the ids of %d containers\n  fix: give more digits, or the name (brig ps -a)", clip(ref), len(found))
	case err != nil:
		return nil, err // it may be the one
	}
	return nil, fmt.Errorf("%w: %q\n  fix: see brig ps -a", ErrNotFound, clip(ref))
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

func (s *Store) read(id string) (*Container, error) {
	c := &Container{store: s, dir: filepath.Join(s.dir, id)}
	return c, c.reload()
}

// readFile reads a regular file of at most limit bytes, through no link.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, err
}

// The prefixes of directories that are no containers yet, or no more.
const (
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

// Create begins a container, with its lock held exclusively. An empty name means
// that one is made up. Nobody sees it before Publish; Abandon takes it back.
func (s *Store) Create(name string) (*Container, error) {
	if name != "" {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	err := os.MkdirAll(s.dir, 0o700)
	if err == nil {
		err = userns.ShareStored(s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("making a place for containers: %w", err)
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // it never fails
	id := hex.EncodeToString(raw[:])
	c := &Container{store: s, dir: filepath.Join(s.dir, newPrefix+id), fresh: true, Record: Record{
		Version: RecordVersion, ID: id, Name: name, Created: time.Now().UTC(),
	}}
	// The sweep holds the store's lock: it never sees a directory not locked yet.
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.checkFree(name); err != nil {
		return nil, err
	}
	if err = os.Mkdir(c.dir, 0o700); err == nil {
		err = userns.ShareStored(c.dir)
	}
	if err == nil {
		err = os.Mkdir(c.Data(), 0o700)
	}
	if err == nil {
		err = c.lockFile(os.O_CREATE, unix.LOCK_EX)
	}
	if err != nil {
		_ = os.RemoveAll(c.dir)
		return nil, fmt.Errorf("making a container: %w", err)
	}
	return c, nil
}

// checkFree refuses a name that another container has.
func (s *Store) checkFree(name string) error {
	if name == "" {
		return nil
	}
	list, err := s.List()
	for _, c := range list {
		if c.Name == name {
			return fmt.Errorf("%w: container %s is %s\n  fix: choose another with --name, or remove that one: brig rm %s", ErrNameTaken, name, c.ID[:12], name)
		}
	}
	return err
}

// Publish writes the record of a container that Create made, and makes it one
// that others see. It makes a name up where there is none.
func (c *Container) Publish() error {
	unlock, err := c.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if c.Name == "" {
		if c.Name, err = c.store.freeName(); err != nil {
			return err
		}
	} else if err := c.store.checkFree(c.Name); err != nil {
		return err
	}
	if err := c.Save(); err != nil {
		return err
	}
	to := filepath.Join(c.store.dir, c.ID)
	if err := os.Rename(c.dir, to); err != nil {
		return fmt.Errorf("making a container: %w", err)
	}
	c.dir = to
	return atomicfile.SyncDir(c.store.dir)
}

// Save replaces the record. The caller holds the lock exclusively.
func (c *Container) Save() error {
	return c.save(atomicfile.Replace)
}

func (c *Container) save(replace func(name string, content []byte) error) error {
	b, err := c.encode()
	if err == nil {
		err = replace(filepath.Join(c.dir, "container.json"), b)
	}
	if err != nil {
		return fmt.Errorf("writing the record of a container: %w", err)
	}
	return nil
}

// spareRoom is what the end of a run may add to the record, in bytes.
const spareRoom = 16 << 10

func (c *Container) spareFile() string { return filepath.Join(c.dir, "container.spare") }

// reserve sets aside what the record of a run's end takes: the job may have filled
// the disk by then.
func (c *Container) reserve() error {
	b, err := c.encode()
	if err == nil {
		err = atomicfile.Reserve(c.spareFile(), int64(len(b)+spareRoom))
	}
	if err != nil {
		return fmt.Errorf("setting space aside for the record of a container: %w", err)
	}
	return nil
}

// saveEnd is Save with what reserve has set aside.
func (c *Container) saveEnd() error {
	return c.save(func(name string, content []byte) error {
		return atomicfile.ReplaceReserved(name, c.spareFile(), content)
	})
}

func (c *Container) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "\t")
	e.SetEscapeHTML(false)
	err := e.Encode(&c.Record)
	return b.Bytes(), err
}
