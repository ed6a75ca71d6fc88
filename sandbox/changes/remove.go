package changes

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// removeAt removes what the upper has at a path, with all that is in it.
func (t *Tree) removeAt(p string) error {
	dir, name := split(p)
	fd, err := openAt(t.upper, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return RemoveAll(fd, name)
}

// RemoveAll removes a name of a directory with all that is in it, however deep
// that is. It follows no link, and opens directories that their owner has
// closed. Its errors are unix.Errno.
func RemoveAll(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	if err := removeBelow(dir, name); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// removeBelow empties a directory.
func removeBelow(parent int, name string) error {
	fd, err := openDir(parent, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return Empty(fd)
}

// flatDepth is how deep a tree is removed in place. What is deeper is moved up
// first: a job can make trees that no path reaches, and that are deeper than
// there are descriptors.
const flatDepth = 64

// Empty removes all that is in a directory, as RemoveAll does, and leaves the
// directory. fd is open for reading.
func Empty(fd int) error {
	r := &remover{top: fd}
	for {
		moved := r.moved
		if err := r.empty(fd, 0); err != nil {
			return err
		}
		if r.moved == moved {
			return nil
		}
	}
}

type remover struct{ top, moved int }

func openDir(parent int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, name, flags, 0)
	if errors.Is(err, unix.EACCES) {
		if err = unix.Fchmodat(parent, name, 0o700, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			fd, err = unix.Openat(parent, name, flags, 0)
		}
	}
	return fd, err
}

func (r *remover) empty(fd, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&0o700 != 0o700 {
		_ = unix.Fchmod(fd, st.Mode&0o7777|0o700) // what it does not help with fails below
	}
	buf := make([]byte, 32<<10)
	for {
		// Again from the start: what was read is gone by then.
		if _, err := unix.Seek(fd, 0, 0); err != nil {
			return err
		}
		list, err := someNames(fd, buf)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return nil
		}
		for _, name := range list {
			if err := r.remove(fd, name, depth); err != nil {
				return err
			}
		}
	}
}

// someNames reads on in a directory, until there are names or its end. A signal
// that is pending, such as those of Go's scheduler, ends a getdents64(2) after its
// first entry: "." alone is no end.
func someNames(fd int, buf []byte) ([]string, error) {
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n <= 0 || err != nil {
			return nil, err
		}
		if _, _, list := unix.ParseDirent(buf[:n], -1, nil); len(list) > 0 {
			return list, nil
		}
	}
}

func (r *remover) remove(fd int, name string, depth int) error {
	err := unix.Unlinkat(fd, name, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	if depth >= flatDepth {
		for {
			r.moved++
			err := unix.Renameat2(fd, name, r.top, ".brig-deep-"+strconv.Itoa(r.moved), unix.RENAME_NOREPLACE)
			if !errors.Is(err, unix.EEXIST) {
				return err
			}
		}
	}
	sub, err := openDir(fd, name)
	if err != nil {
		return err
	}
	err = r.empty(sub, depth+1)
	unix.Close(sub)
	if err != nil {
		return err
	}
	return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
}
