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
// modes, times, whiteouts, hard links and attributes. Holes stay holes. What is
// there when it fails is a part of it.
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
	c := &copier{from: from, to: dir, budget: maxNameBytes, links: map[uint64]string{}}
	return c.directory("")
}

// copier copies by paths below two directories, so that the depth of a tree costs
// no descriptors.
type copier struct {
	from, to int
	budget   int
	links    map[uint64]string // by inode: where files of several names are
}

func (c *copier) failed(p string, err error) error {
	if errors.Is(err, unix.ENAMETOOLONG) {
		return fmt.Errorf("%q: its path is longer than %d bytes", clip(p), maxPath)
	}
	return fmt.Errorf("%q: %w", clip("/"+p), err)
}

// directory fills a directory that is there, and gives it its attributes then:
// its mode may close it, and its times change with what comes in.
func (c *copier) directory(p string) error {
	fd, err := openAt(c.from, p, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return c.failed(p, err)
	}
	var st unix.Stat_t
	list, err := names(fd, &c.budget)
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	unix.Close(fd)
	if err != nil {
		return c.failed(p, err)
	}
	for _, name := range list {
		if err := c.entry(join(p, name)); err != nil {
			return err
		}
	}
	c.budget += cost(list)
	if err := c.attributes(p, &st, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
		return c.failed(p, err)
	}
	return nil
}

func (c *copier) entry(p string) error {
	if len(p) > maxPath {
		return c.failed(p, unix.ENAMETOOLONG)
	}
	st, err := statAt(c.from, p)
	if err == nil && st == nil {
		err = errors.New("it went while it was looked at")
	}
	if err != nil {
		return c.failed(p, err)
	}
	dir, name := split(p)
	parent, err := openAt(c.to, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return c.failed(p, err)
	}
	isDir, err := c.make(parent, name, p, st)
	unix.Close(parent)
	if err != nil {
		return c.failed(p, err)
	}
	if isDir {
		return c.directory(p)
	}
	return nil
}

// make makes an entry. A directory is to be filled.
func (c *copier) make(parent int, name, p string, st *unix.Stat_t) (isDir bool, err error) {
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		return true, unix.Mkdirat(parent, name, 0o700)
	}
	if first, ok := c.links[st.Ino]; ok && st.Nlink > 1 {
		fd, err := openAt(c.to, first, unix.O_PATH)
		if err != nil {
			return false, err
		}
		defer unix.Close(fd)
		return false, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), parent, name, unix.AT_SYMLINK_FOLLOW)
	}
	switch kind {
	case unix.S_IFREG:
		err = c.file(parent, name, p, st)
	case unix.S_IFLNK:
		var target string
		if target, err = readLink(c.from, p); err == nil {
			err = unix.Symlinkat(target, parent, name)
		}
	case unix.S_IFCHR:
		if st.Rdev != 0 {
			return false, errors.New("it is a device")
		}
		err = unix.Mknodat(parent, name, unix.S_IFCHR, 0)
	case unix.S_IFIFO, unix.S_IFSOCK:
		err = unix.Mknodat(parent, name, kind|0o600, 0)
	default:
		return false, errors.New("it is a device")
	}
	if err == nil && kind != unix.S_IFREG {
		err = c.owner(parent, name, st)
	}
	if err == nil && st.Nlink > 1 {
		c.links[st.Ino] = p
	}
	return false, err
}

// owner gives what cannot be opened its owner, mode and times.
func (c *copier) owner(parent int, name string, st *unix.Stat_t) error {
	err := unix.Fchownat(parent, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	if kind := st.Mode & unix.S_IFMT; err == nil && (kind == unix.S_IFIFO || kind == unix.S_IFSOCK) {
		err = unix.Fchmodat(parent, name, st.Mode&0o7777, 0)
	}
	if err == nil {
		err = unix.UtimesNanoAt(parent, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}

func (c *copier) file(parent int, name, p string, st *unix.Stat_t) error {
	in, err := openFile(c.from, p)
	if err != nil {
		return err
	}
	defer in.Close()
	fd, err := unix.Openat(parent, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), p)
	defer out.Close()
	for at := int64(0); at < st.Size; {
		data, err := nextData(in, at, st.Size)
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
		at = max(end, data)
	}
	if err := out.Truncate(st.Size); err != nil {
		return err
	}
	return c.give(int(in.Fd()), fd, st)
}

// attributes gives what is at a path its attributes, owner, mode and times.
func (c *copier) attributes(p string, st *unix.Stat_t, how int) error {
	in, err := openAt(c.from, p, how)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := openAt(c.to, p, how)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	return c.give(in, out, st)
}

// give copies what a descriptor says of its file. The owner comes before the
// mode, which a change of owner takes bits from.
func (c *copier) give(in, out int, st *unix.Stat_t) error {
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
