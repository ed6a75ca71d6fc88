package layer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Empty removes all that is in a directory, and leaves the directory. It
// follows no link. Directories that their owner has closed are opened first.
func Empty(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("emptying %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if err := emptyFD(fd); err != nil {
		return fmt.Errorf("emptying %s: %w", dir, err)
	}
	return nil
}

// removeAll removes a name with all that is in it.
func removeAll(parent int, base string) error {
	err := unix.Unlinkat(parent, base, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, base, flags, 0)
	if errors.Is(err, unix.EACCES) {
		if err = unix.Fchmodat(parent, base, 0o700, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			fd, err = unix.Openat(parent, base, flags, 0)
		}
	}
	if err != nil {
		return err
	}
	err = emptyFD(fd)
	unix.Close(fd)
	if err != nil {
		return err
	}
	return unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
}

// emptyFD is called once for each level, so that a deep tree needs as many
// descriptors as it has levels: layers have at most Limits.Depth of them.
func emptyFD(fd int) error {
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
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			if err := removeAll(fd, name); err != nil {
				return err
			}
		}
	}
}
