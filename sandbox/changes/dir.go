package changes

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// beneath resolves a path strictly below a descriptor: no link is followed and
// no mount is entered, whoever changes the tree meanwhile.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// openAt opens what a path names below a directory; "" is the directory itself.
func openAt(dir int, p string, flags int) (int, error) {
	if p == "" {
		p = "."
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK), Resolve: beneath}
	if flags&unix.O_PATH != 0 {
		how.Flags &^= unix.O_NONBLOCK // openat2 refuses it beside O_PATH
	}
	for {
		fd, err := unix.Openat2(dir, p, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

// absent tells of errors that mean that there is nothing of this name: the
// kernel looks into no file and through no link for one.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// statAt is lstat below a directory; nil where there is nothing.
func statAt(dir int, p string) (*unix.Stat_t, error) {
	fd, err := openAt(dir, p, unix.O_PATH)
	if err != nil {
		if absent(err) {
			err = nil
		}
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	return &st, nil
}

// maxNameBytes bounds what names of entries take in memory at once.
const maxNameBytes = 256 << 20

// errTooMany is of directories that are too large to be looked at.
var errTooMany = fmt.Errorf("its directories have names of more than %d MiB together", maxNameBytes>>20)

// names lists a directory in order, charging the budget.
func names(fd int, budget *int) ([]string, error) {
	var list []string
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(list)
			return list, nil
		}
		before := len(list)
		_, _, list = unix.ParseDirent(buf[:n], -1, list)
		for _, name := range list[before:] {
			*budget -= nameCost(name)
		}
		if *budget < 0 {
			return nil, errTooMany
		}
	}
}

// nameCost is what a name takes, its header in the list included.
func nameCost(name string) int { return len(name) + 16 }

func cost(list []string) int {
	sum := 0
	for _, name := range list {
		sum += nameCost(name)
	}
	return sum
}

// join is path.Join of a clean directory and a name.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// split is a path's directory, "" for the root, and its name.
func split(p string) (dir, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return "", p
}

func typeOf(mode uint32) Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return File
	case unix.S_IFDIR:
		return Directory
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFIFO:
		return FIFO
	case unix.S_IFSOCK:
		return Socket
	}
	return Device
}

func metaOf(st *unix.Stat_t) *Meta {
	m := &Meta{Type: typeOf(st.Mode), Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
	if m.Type == File || m.Type == Symlink {
		m.Size = st.Size
	}
	return m
}

// readLink reads a symbolic link, which may be changed meanwhile.
func readLink(dir int, p string) (string, error) {
	fd, err := openAt(dir, p, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// openFile opens a regular file for reading.
func openFile(dir int, p string) (*os.File, error) {
	fd, err := openAt(dir, p, unix.O_RDONLY|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) {
		fd, err = openAt(dir, p, unix.O_RDONLY) // another's file
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("it is not a file any more")
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), p), nil
}
