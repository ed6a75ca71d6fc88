package userns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Slices of 65536 ids that root's sandboxes take, from 0x78000000 on. This
// part of the id space is
//   - outside everything in systemd's table (systemd.io/UIDS-GIDS): dynamic
//     users 61184-65519, greeters 60578-60705, containers 0x80000-0x6FFFFFFF,
//     foreign ids 0x7FFE0000-0x7FFEFFFF;
//   - above what useradd gives out as subordinate ids (to 600100000) and what
//     SSSD and FreeIPA give users of a domain (to 2000400000);
//   - below 2^31, from where FreeIPA gives out subordinate ids and where some
//     programs take ids for negative.
//
// As systemd advises, a slice begins at a multiple of 65536.
const (
	firstSlice = 0x78000000
	// Slices is how many sandboxes of root can have ids of their own at once.
	Slices = 1024
)

var slicePool = Range{firstSlice, Slices * WantIDs}

// RangesDir is where the locks on root's slices are.
const RangesDir = "/run/brig/ranges"

// AllocateOptions say where to look; the zero value is the host.
type AllocateOptions struct {
	// FS stands for the host's root directory in tests: /etc/subuid,
	// /etc/subgid, /etc/passwd, /etc/group, /proc/self/uid_map and gid_map.
	FS fs.FS
	// Dir holds the locks; empty means RangesDir.
	Dir string
	// Stored is the file of StoredRange; empty means StoredFile, or "range" beside
	// Dir where that is given.
	Stored string
}

// Lease is a range of ids that no other brig uses while it is held.
type Lease struct {
	Range Range
	fd    int
}

// FD is the descriptor whose open file holds the lock. A process that inherits
// it keeps the range taken when the holder dies: give it to the sandbox's init,
// never to the job, so that the ids are not given out again while processes
// still have them.
func (l *Lease) FD() int { return l.fd }

// Close gives the range back, unless another process has inherited FD.
func (l *Lease) Close() error {
	if l.fd < 0 {
		return nil
	}
	fd := l.fd
	l.fd = -1
	return unix.Close(fd)
}

// SubIDs returns the range as subordinate ids of both kinds.
func (l *Lease) SubIDs() SubIDs {
	return SubIDs{UID: []Range{l.Range}, GID: []Range{l.Range}}
}

// started counts the allocations of this process.
var started atomic.Uint32

// AllocateRange takes 65536 unused, unprivileged ids for a caller that is root:
// a slice that overlaps no range of /etc/subuid and /etc/subgid and no account,
// and that no other brig of this host (more exactly: with the same /run) holds.
// The lock is a flock(2) on a file of the slice, so that the kernel gives it
// back when the process ends in whatever way.
//
// Errors are *Problem: RangesUnmapped (the caller's own user namespace does
// not have these ids), RangesExhausted, LockDirUnsafe, RangeMalformed,
// FileUnreadable.
func AllocateRange(o AllocateOptions) (*Lease, error) {
	taken, err := takenRanges(etc{o.FS})
	if err != nil {
		return nil, err
	}
	record := o.stored()
	if o.Dir == "" {
		o.Dir = RangesDir
	}
	dir, err := openLockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	// Brigs that start at about the same time have neighbouring pids, so each
	// begins at a slice of its own.
	first := (uint32(os.Getpid()) + started.Add(1)) % Slices
	for i := range uint32(Slices) {
		n := (first + i) % Slices
		r := Range{firstSlice + n*WantIDs, WantIDs}
		if overlapsAny(r, taken) {
			continue
		}
		fd, err := lockSlice(dir, n)
		switch {
		case err != nil:
			return nil, &Problem{
				Reason: LockDirUnsafe, Cause: fmt.Sprintf("locking %s/%d", o.Dir, n), Err: err,
				Fix: "make sure that " + path.Dir(o.Dir) + " is on a writable file system with free space",
			}
		case fd >= 0:
			// Read with the lock held: whoever records a range holds it until then.
			stored, err := readStored(record)
			if err == nil && stored != r {
				return &Lease{Range: r, fd: fd}, nil
			}
			_ = unix.Close(fd)
			if err != nil {
				return nil, err
			}
		}
	}
	return nil, &Problem{
		Reason: RangesExhausted,
		Cause:  fmt.Sprintf("all %d slices of %s are in use or overlap %d ranges of /etc/subuid, /etc/subgid, /etc/passwd and /etc/group", Slices, slicePool, len(taken)),
		Fix:    "end some sandboxes, or move ranges and accounts out of " + slicePool.String(),
	}
}

func overlapsAny(r Range, taken []Range) bool {
	for _, t := range taken {
		if r.overlaps(t) {
			return true
		}
	}
	return false
}

// takenRanges returns what in the pool belongs to users and accounts, having
// checked that the pool's ids exist in the caller's user namespace.
func takenRanges(src etc) ([]Range, error) {
	for _, name := range [...]string{"proc/self/uid_map", "proc/self/gid_map"} {
		text, err := src.read(name, maxProcFile)
		if err != nil {
			return nil, err
		}
		m, err := ParseMap(string(text))
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", name, err)
		}
		if !m.covers(slicePool) {
			return nil, &Problem{
				Reason: RangesUnmapped,
				Cause:  fmt.Sprintf("brig runs as root of a user namespace (/%s) that does not have the ids %s", name, slicePool),
				Fix:    "use the single mapping, or give root of this namespace a range of its own ids in /etc/subuid and /etc/subgid and use the keep-id mapping",
			}
		}
	}
	sub, err := src.readSubIDs()
	if err != nil {
		return nil, err
	}
	var taken []Range
	for _, entries := range [...][]SubIDEntry{sub.uid, sub.gid} {
		for _, e := range entries {
			if e.Range.overlaps(slicePool) {
				taken = append(taken, e.Range)
			}
		}
	}
	for _, name := range [...]string{"etc/passwd", "etc/group"} {
		ids, err := src.accountIDs(name, slicePool)
		if err != nil {
			return nil, err
		}
		taken = append(taken, ids...)
	}
	return taken, nil
}

// openLockDir opens the directory of the locks, made if need be. Nobody else
// may write it: whoever can replace a lock can make two sandboxes share ids.
func openLockDir(dir string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	open := func() (int, error) { return unix.Open(dir, flags, 0) }
	fd, err := retry(open)
	if errors.Is(err, unix.ENOENT) {
		if err = makeLockDir(dir); err == nil {
			fd, err = retry(open)
		}
	}
	if err != nil {
		return -1, unsafeDir(dir, "opening "+dir, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		switch {
		case int(st.Uid) != os.Geteuid():
			err = fmt.Errorf("it belongs to uid %d", st.Uid)
		case st.Mode&0o077 != 0:
			err = fmt.Errorf("its mode is %04o", st.Mode&0o7777)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, unsafeDir(dir, dir+" cannot be trusted with locks", err)
	}
	return fd, nil
}

// makeLockDir makes dir and its parent; another brig may do so meanwhile.
func makeLockDir(dir string) error {
	if err := os.Mkdir(path.Dir(dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func unsafeDir(dir, cause string, err error) error {
	return &Problem{
		Reason: LockDirUnsafe, Cause: cause, Err: err,
		Fix: fmt.Sprintf("rm -rf %[1]s && install -d -m 0755 %[2]s && install -d -m 0700 %[1]s", dir, path.Dir(dir)),
	}
}

// lockSlice returns -1 when another open file has the lock.
func lockSlice(dir int, n uint32) (int, error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := retry(func() (int, error) { return unix.Openat(dir, strconv.Itoa(int(n)), flags, 0o600) })
	if err != nil {
		return -1, err
	}
	_, err = retry(func() (int, error) { return 0, unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil {
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil && st.Nlink > 0 {
			return fd, nil
		}
		// Somebody removed the file between open and lock: the name may
		// already be a different file with a different lock.
		if err == nil {
			err = unix.EWOULDBLOCK
		}
	}
	_ = unix.Close(fd)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return -1, nil
	}
	return -1, err
}
