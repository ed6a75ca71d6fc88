package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/userns"
)

// Store is a directory of images. Any number of processes may use one at once.
type Store struct {
	dir string
	// Users tells which containers were made of images, by the manifests'
	// digests: such an image stays, with its layers. Whoever removes images sets
	// it. It is called with the store's lock held, and an error is a refusal.
	Users func() (map[Digest][]string, error)
}

// DefaultDir is where the caller's images are.
func DefaultDir() (string, error) {
	if os.Getuid() == 0 {
		return "/var/lib/brig/images", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "brig/images"), nil
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/share/brig/images"), nil
	}
	return "", errors.New("there is no place for images: neither XDG_DATA_HOME nor HOME is set\n  fix: set XDG_DATA_HOME to a directory of your own")
}

// OpenStore opens the store in a directory, which is absolute. Nothing is made
// before something is put into it.
func OpenStore(dir string) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("the store's directory %q is not absolute", dir)
	}
	return &Store{dir: filepath.Clean(dir)}, nil
}

// OpenDefault opens the caller's store.
func OpenDefault() (*Store, error) {
	dir, err := DefaultDir()
	if err != nil {
		return nil, err
	}
	return OpenStore(dir)
}

// Dir is the store's directory.
func (s *Store) Dir() string { return s.dir }

// BlobPath is where the blob of a digest is, or would be.
func (s *Store) BlobPath(d Digest) string { return filepath.Join(s.dir, "blobs/sha256", d.Hex()) }

func (s *Store) layerDir(mapName string, diffID Digest) string {
	return filepath.Join(s.dir, "layers", mapName, diffID.Hex())
}

// create makes the directories. Nobody but the caller may enter, and root's own
// sandboxes: the trees hold set-user-id files as their images have them.
func (s *Store) create() error {
	for _, d := range []string{"", "blobs/sha256", "layers", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return fmt.Errorf("making the image store: %w", err)
		}
	}
	if err := userns.ShareStored(s.dir, filepath.Join(s.dir, "layers"), filepath.Join(s.dir, "tmp")); err != nil {
		return fmt.Errorf("making the image store: %w", err)
	}
	return nil
}

// lock takes the store's lock and returns what gives it back. Whoever removes
// something holds it exclusively.
func (s *Store) lock(how int) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the image store: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking the image store: %w", err)
		}
	}
}

// turnPoll is how often Turn looks whether it is its turn.
const turnPoll = 100 * time.Millisecond

// Turn waits until no other process unpacks again what the store has: ten jobs
// that need the same layers at once unpack them once.
func (s *Store) Turn(ctx context.Context) (leave func(), err error) {
	if err := s.create(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "unpack.lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("waiting for the image store: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, fmt.Errorf("waiting for the image store: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(turnPoll):
		}
	}
}

// Work is a directory of the store's in which one process prepares what it will
// add. A killed process's is removed by the next command.
type Work struct {
	Dir  string // absolute, below the store
	lock *os.File
	// Subordinate tells that trees in it may belong to other ids, so that only
	// an Unpacker can remove it.
	Subordinate bool
}

// NewWork makes a work directory.
func (s *Store) NewWork() (*Work, error) {
	if err := s.create(); err != nil {
		return nil, err
	}
	// The sweep holds the lock exclusively: it never sees one not locked yet.
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.newWork()
}

func (s *Store) newWork() (*Work, error) {
	w := &Work{Dir: filepath.Join(s.dir, "tmp", rand.Text())}
	var err error
	if w.lock, err = os.OpenFile(w.Dir+".lock", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("making a work directory: %w", err)
	}
	err = unix.Flock(int(w.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = os.Mkdir(w.Dir, 0o700)
	}
	if err == nil {
		err = userns.ShareStored(w.Dir)
	}
	if err != nil {
		w.forget()
		return nil, fmt.Errorf("making a work directory: %w", err)
	}
	return w, nil
}

func (w *Work) forget() {
	_ = os.Remove(w.Dir + ".lock")
	w.lock.Close()
}

// stale takes over the work directories of processes that are gone. The caller
// holds the store's lock exclusively.
func (s *Store) stale() ([]*Work, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []*Work
	locked := map[string]bool{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".lock")
		if !ok {
			continue
		}
		locked[name] = true
		w := &Work{Dir: filepath.Join(s.dir, "tmp", name), Subordinate: true}
		if w.lock, err = os.OpenFile(w.Dir+".lock", os.O_RDWR|unix.O_NOFOLLOW, 0); err != nil {
			continue // its owner has just ended
		}
		if unix.Flock(int(w.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			w.lock.Close()
			continue
		}
		list = append(list, w)
	}
	for _, e := range entries {
		// A directory without a lock: the lock's removal was its owner's last act
		// but one.
		if strings.HasSuffix(e.Name(), ".lock") || locked[e.Name()] {
			continue
		}
		w := &Work{Dir: filepath.Join(s.dir, "tmp", e.Name()), Subordinate: true}
		if w.lock, err = os.OpenFile(w.Dir+".lock", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			if unix.Flock(int(w.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				list = append(list, w)
				continue
			}
			w.lock.Close()
		}
	}
	return list, nil
}
