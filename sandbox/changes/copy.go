package changes

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Copy copies an upper to a new directory, as overlayfs needs it: with owners,
// modes, times, whiteouts, hard links and attributes, however deep it is. Holes
// stay holes. What is there when it fails is a part of it. Nobody may change
// either meanwhile.
func Copy(upper, to string) error {
	from, err := openTop(upper)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	if err := unix.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", to, err)
	}
	dir, err := openTop(to)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	c := &copier{to: dir, budget: maxNameBytes, links: map[uint64]string{}}
	at := &level{from, dir}
	st, err := c.fill(at, "", 0)
	if err == nil {
		err = give(at.from, at.to, st)
	}
	return err
}

type copier struct {
	to     int
	budget int
	links  map[uint64]string // by inode: where files of several names are
}

// level is a directory of the upper, and its copy.
type level struct{ from, to int }

func (l *level) close() {
	unix.Close(l.from)
	unix.Close(l.to)
}

// open opens a directory of both, which must be there.
func (l *level) open(name string) (*level, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	from, err := unix.Openat(l.from, name, flags, 0)
	if err != nil {
		return nil, err
	}
	to, err := unix.Openat(l.to, name, flags, 0)
	if err != nil {
		unix.Close(from)
		return nil, err
	}
	return &level{from, to}, nil
}

func failedAt(p string, err error) error { return fmt.Errorf("%q: %w", clip("/"+p), err) }

// fill fills a directory that is there. Its attributes come later: its mode may
// close it, and its times change with what comes in.
func (c *copier) fill(at *level, p string, depth int) (*unix.Stat_t, error) {
	var st unix.Stat_t
	list, err := names(at.from, &c.budget)
	if err == nil {
		err = unix.Fstat(at.from, &st)
	}
	if err != nil {
		return nil, failedAt(p, err)
	}
	for _, name := range list {
		if err := c.entry(at, name, join(p, name), depth); err != nil {
			return nil, err
		}
	}
	c.budget += cost(list)
	return &st, nil
}

func (c *copier) entry(at *level, name, p string, depth int) error {
	st, err := statAt(at.from, name)
	if err == nil && st == nil {
		err = errors.New("it went while it was looked at")
	}
	if err != nil {
		return failedAt(p, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return c.directory(at, name, p, depth+1)
	}
	if err := c.make(at, name, p, st); err != nil {
		return failedAt(p, err)
	}
	return nil
}

// directory copies a directory. From a certain depth on the one above is closed
// meanwhile, since trees may be deeper than there are descriptors.
func (c *copier) directory(at *level, name, p string, depth int) error {
	if err := unix.Mkdirat(at.to, name, 0o700); err != nil {
		return failedAt(p, err)
	}
	sub, err := at.open(name)
	if err != nil {
		return failedAt(p, err)
	}
	defer func() { sub.close() }()
	if depth > flatDepth {
		at.close()
		at.from, at.to = -1, -1
	}
	st, err := c.fill(sub, p, depth)
	if err != nil {
		return err
	}
	if depth > flatDepth {
		up, err := sub.open("..")
		if err != nil {
			return failedAt(p, err)
		}
		*at = *up
	}
	if err := give(sub.from, sub.to, st); err != nil {
		return failedAt(p, err)
	}
	return nil
}

// make makes what is no directory.
func (c *copier) make(at *level, name, p string, st *unix.Stat_t) error {
	if first, ok := c.links[st.Ino]; ok && st.Nlink > 1 {
		fd, err := openAt(c.to, first, unix.O_PATH)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), at.to, name, unix.AT_SYMLINK_FOLLOW)
	}
	var err error
	kind := st.Mode & unix.S_IFMT
	switch kind {
	case unix.S_IFREG:
		err = copyFile(at, name, st)
	case unix.S_IFLNK:
		var target string
		if target, err = readLink(at.from, name); err == nil {
			err = unix.Symlinkat(target, at.to, name)
		}
	case unix.S_IFCHR:
		if st.Rdev != 0 {
			return errors.New("it is a device")
		}
		err = unix.Mknodat(at.to, name, unix.S_IFCHR, 0)
	case unix.S_IFIFO, unix.S_IFSOCK:
		err = unix.Mknodat(at.to, name, kind|0o600, 0)
	default:
		return errors.New("it is a device")
	}
	if err == nil && kind != unix.S_IFREG {
		err = own(at.to, name, st)
	}
	if err == nil && st.Nlink > 1 && len(p) <= maxPath { // what no path reaches becomes a file of its own
		c.links[st.Ino] = p
	}
	return err
}

// own gives what cannot be opened its owner, mode and times.
func own(parent int, name string, st *unix.Stat_t) error {
	err := unix.Fchownat(parent, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	if kind := st.Mode & unix.S_IFMT; err == nil && (kind == unix.S_IFIFO || kind == unix.S_IFSOCK) {
		err = unix.Fchmodat(parent, name, st.Mode&0o7777, 0)
	}
	if err == nil {
		err = unix.UtimesNanoAt(parent, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}

func copyFile(at *level, name string, st *unix.Stat_t) error {
	in, err := openFile(at.from, name)
	if err != nil {
		return err
	}
	defer in.Close()
	fd, err := unix.Openat(at.to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), name)
	defer out.Close()
	for pos := int64(0); pos < st.Size; {
		data, err := nextData(in, pos, st.Size)
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENXIO) {
			end, err = st.Size, nil
		}
		if err == nil {
			_, err = io.Copy(io.NewOffsetWriter(out, data), io.NewSectionReader(in, data, max(min(end, st.Size)-data, 0)))
		}
		if err != nil {
			return err
		}
		pos = max(end, data)
	}
	if err := out.Truncate(st.Size); err != nil {
		return err
	}
	return give(int(in.Fd()), fd, st)
}

// give copies what a descriptor says of its file. The owner comes before the
// mode, which a change of owner takes bits from.
func give(in, out int, st *unix.Stat_t) error {
	if err := copyAttributes(in, out); err != nil {
		return err
	}
	err := unix.Fchown(out, int(st.Uid), int(st.Gid))
	if err == nil {
		err = unix.Fchmod(out, st.Mode&0o7777)
	}
	if err == nil {
		err = unix.UtimesNanoAt(out, "", []unix.Timespec{st.Atim, st.Mtim}, unix.AT_EMPTY_PATH)
	}
	return err
}

// maxAttributes bounds names and values of a file's attributes: XATTR_LIST_MAX
// and XATTR_SIZE_MAX of the kernel.
const maxAttributes = 64 << 10

// copyAttributes copies the attributes that a job can have made: user.*, among
// them overlayfs's own, and access lists, which not every file system takes.
func copyAttributes(in, out int) error {
	buf := make([]byte, maxAttributes)
	n, err := unix.Flistxattr(in, buf)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading its attributes: %w", err)
	}
	value := make([]byte, maxAttributes)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		list := strings.HasPrefix(name, "system.posix_acl_")
		if !list && !strings.HasPrefix(name, "user.") {
			continue
		}
		n, err := unix.Fgetxattr(in, name, value)
		if err == nil {
			err = unix.Fsetxattr(out, name, value[:n], 0)
		}
		if err != nil && (!list || !errors.Is(err, unix.ENOTSUP)) {
			return fmt.Errorf("copying its attribute %q: %w", clip(name), err)
		}
	}
	return nil
}
