package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

// upperDir is a directory of the host's that holds the uppers of one sandbox's
// overlays. It is needed on kernels whose tmpfs has no user.* attributes
// (before 6.6): there an overlay with a tmpfs for its upper cannot remove a
// directory of its lower layer.
//
// A janitor removes it, also when brig is killed. When both were killed the
// directory stays, without its lock, until the next run on this host sweeps it
// away.
type upperDir struct {
	path    string
	lock    *os.File
	janitor *launch.Janitor
	keep    *Keep // the directory is the caller's to remove; nil where it is not kept
}

// plannedUpper is the host's upper directory, or where it would be made: a
// recorded host may come from a caller who needed none.
func plannedUpper(h *probe.Host) (string, error) {
	switch {
	case h.Upper != "":
		return h.Upper, nil
	case h.UID == 0:
		return "/var/lib/brig/uppers/NEW", nil
	case strings.HasPrefix(h.HomeDir, "/"):
		return filepath.Join(h.HomeDir, ".cache/brig/uppers/NEW"), nil
	}
	return "", newError(CodeHost, "what the job writes needs a directory on this kernel, and there is no place for one: "+
		"neither XDG_CACHE_HOME nor HOME is set", "set XDG_CACHE_HOME to a directory of your own")
}

// needsUpper tells whether a spec makes overlays.
func needsUpper(s *Spec, host *probe.Host) bool {
	if root := s.Policy.Filesystem.Root; strings.HasPrefix(root, "dir:") || strings.HasPrefix(root, imageRoot) {
		return true
	}
	for _, m := range s.Policy.Filesystem.Mounts {
		if m.Access == policy.CopyOnWrite && (host.UID != 0 || host.Kernel.AtLeast(viewsSince.Major, viewsSince.Minor)) {
			return true
		}
	}
	return false
}

// newUpperDir makes an upper directory. Its name tells with which mapping it
// can be removed, its lock that it is in use.
func newUpperDir(kind policy.UserMap) (*upperDir, error) {
	root, err := probe.UppersRoot()
	mode := os.FileMode(0o700)
	if os.Getuid() == 0 {
		mode = 0o711 // the sandbox's ids must be able to pass
	}
	if err == nil {
		err = os.MkdirAll(root, mode)
	}
	if err != nil {
		return nil, fmt.Errorf("making a directory for what the job writes: %w", err)
	}
	u := &upperDir{}
	for try := 0; u.lock == nil; try++ {
		u.path = filepath.Join(root, string(kind)+"-"+rand.Text())
		// Locked before it exists, so that no sweep ever sees it unlocked. The lock
		// alone may be seen, and taken for what a killed brig has left.
		u.lock, err = lockFile(u.path+".lock", os.O_CREATE)
		if err != nil && (try >= 10 || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.ENOENT)) {
			return nil, err
		}
	}
	err = os.MkdirAll(u.data(), 0o700)
	if err == nil && kind == policy.MapIsolated && os.Getuid() != 0 {
		// The sandbox has none of the caller's ids. Nobody else gets there, since
		// the directory above is closed.
		err = os.Chmod(u.data(), 0o777) //nolint:gosec // see above
	}
	if err != nil {
		u.unlock()
		return nil, fmt.Errorf("making a directory for what the job writes: %w", err)
	}
	return u, nil
}

// lockFile locks a file, which with os.O_CREATE it makes. The lock ends with its
// last descriptor. The error is EWOULDBLOCK where another has it, and ENOENT where
// it was removed before it was locked: what has no name keeps nobody out.
func lockFile(name string, create int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|create|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking a directory for what the job writes: %w", err)
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		err = isNamed(f, name)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	return f, nil
}

// isNamed tells whether an open file is the one of that name: else ENOENT.
func isNamed(f *os.File, name string) error {
	var open, named unix.Stat_t
	if err := errors.Join(unix.Fstat(int(f.Fd()), &open), unix.Lstat(name, &named)); err != nil {
		return err
	}
	if open.Dev != named.Dev || open.Ino != named.Ino {
		return unix.ENOENT
	}
	return nil
}

func (u *upperDir) unlock() {
	_ = os.Remove(u.path + ".lock")
	u.lock.Close()
}

// data is the directory that the sandbox gets.
func (u *upperDir) data() string {
	if u.keep != nil {
		return u.keep.Dir
	}
	return filepath.Join(u.path, "d")
}

// guard starts the janitor, unless the directory is kept. Called by root the directories change hands first:
// neither the sandbox nor the janitor has any of root's ids. What only root may
// remove is then left to brig, or to the next sweep.
func (u *upperDir) guard(ids *plan.IDs, writeMaps func(int) error) error {
	paths, handed := []string{u.path, u.path + ".lock"}, []string{u.path, u.data()}
	if u.keep != nil {
		handed = handed[1:]
	}
	if os.Getuid() == 0 {
		paths = []string{u.data()}
		for _, dir := range handed {
			if err := os.Lchown(dir, int(ids.CloneUID), int(ids.CloneGID)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("handing over %s: %w", dir, err)
			}
		}
	}
	if u.keep != nil {
		return nil
	}
	var err error
	u.janitor, err = launch.StartJanitor(&launch.JanitorConfig{
		IDs: *ids, Paths: paths, WriteMaps: writeMaps,
	})
	return err
}

// close removes the directory.
func (u *upperDir) close() error {
	if u.keep != nil {
		return nil
	}
	var err error
	if u.janitor != nil {
		err = u.janitor.Close()
	}
	err = errors.Join(err, os.RemoveAll(u.path))
	u.unlock()
	return err
}

// sweepUppers removes what a janitor that was killed has left. What cannot be
// removed now is left for another run: it costs space, not safety.
func sweepUppers(ctx context.Context, s *attempt) {
	root, err := probe.UppersRoot()
	if err != nil {
		return
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if name, ok := strings.CutSuffix(dir, ".lock"); ok && !e.IsDir() {
			sweepLock(name)
			continue
		}
		if !e.IsDir() || ctx.Err() != nil || dir == s.upper.path {
			continue
		}
		lock, err := lockFile(dir+".lock", os.O_CREATE)
		if err != nil {
			continue // in use
		}
		u := &upperDir{path: dir, lock: lock}
		// A mapping of this sandbox's kind reaches what one of its kind made, and root
		// whatever anyone did; with another kind the next run of that kind will. What
		// auto was is not known: it is tried.
		kind, _, _ := strings.Cut(e.Name(), "-")
		if os.Getuid() == 0 || kind == string(policy.MapAuto) || strings.HasPrefix(e.Name(), s.res.Plan.IDs.Map+"-") {
			if err := u.guard(&s.res.Plan.IDs, func(pid int) error { return s.writeMaps(ctx, pid) }); err == nil {
				_ = u.close()
				continue
			}
		}
		u.lock.Close()
	}
}

// sweepLock removes the lock of a directory that is not there: its brig was killed
// before it made it, or a sweep after it removed it. While it is locked nobody
// makes it.
func sweepLock(dir string) {
	lock, err := lockFile(dir+".lock", 0)
	if err != nil {
		return // in use, or gone
	}
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(dir + ".lock")
	}
	lock.Close()
}

// upperWatch holds the scratch limit on an upper directory, where no file
// system does: it adds up what the files in it occupy.
type upperWatch struct {
	dir   string
	limit int64
	over  func(Overrun)
	quit  chan struct{}
	done  chan struct{}
	peak  int64
}

// upperPoll bounds the time between two looks; a look that took d is followed
// by the next after 20 × d at the earliest.
const upperPoll = 100 * time.Millisecond

// upperHoles names what the watch does not see, for the receipt.
func upperHoles() []string {
	return []string{
		"between two looks (100 ms or more) a job can pass the limit by what it writes in that time",
		"files in directories that the job has closed to the caller are not counted",
	}
}

func watchUpper(dir string, limit int64, over func(Overrun)) *upperWatch {
	w := &upperWatch{dir: dir, limit: limit, over: over, quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		wait := upperPoll
		for {
			select {
			case <-w.quit:
				return
			case <-time.After(wait):
			}
			start := time.Now()
			used := usedBelow(w.dir)
			w.peak = max(w.peak, used)
			if w.limit >= 0 && used > w.limit {
				w.over(Overrun{Over: true, Limit: w.limit, Seen: used})
				return
			}
			wait = max(upperPoll, 20*time.Since(start))
		}
	}()
	return w
}

func (w *upperWatch) stop() int64 {
	close(w.quit)
	<-w.done
	return max(w.peak, usedBelow(w.dir))
}

// usedBelow is the space of the files below dir. The walk never follows a link
// and never opens a file; what cannot be read counts nothing.
func usedBelow(dir string) int64 {
	var sum int64
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0
	}
	defer root.Close()
	_ = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // named as a hole: closed to the caller, or gone since
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // gone since
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
}

// errUpper says that an upper directory could not be had.
func errUpper(err error) error {
	var p *userns.Problem
	if errors.As(err, &p) {
		return &Error{Code: CodeIDs, Message: SafeText(p.Detail()), Fix: p.Fix, Cause: err}
	}
	return &Error{
		Code: CodeLaunch, Message: "what the job writes needs a directory on this kernel, and none could be made: " + SafeText(err.Error()),
		Fix: "make $XDG_CACHE_HOME, or ~/.cache, writable and not a network file system", Cause: err,
	}
}
