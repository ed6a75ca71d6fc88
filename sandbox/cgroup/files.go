package cgroup

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFile bounds what is read of one of the kernel's files. The longest, io.stat
// and cgroup.procs, have a line for each device or process; a longer file is
// read up to here and its last line may be cut.
const maxFile = 64 << 10

// readFile reads a file below a directory.
func readFile(dir int, name string) (string, error) {
	fd, err := openat(dir, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n := 0
	for {
		m, err := unix.Read(fd, buf[n:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return "", fmt.Errorf("reading %s: %w", name, err)
		case m == 0:
			return string(buf[:n]), nil
		}
		if n += m; n == len(buf) {
			if n >= maxFile {
				return string(buf[:n]), nil
			}
			buf = append(buf, make([]byte, n)...)
		}
	}
}

// wholeLines is a text without a last line that has no end.
func wholeLines(text string) string { return text[:strings.LastIndexByte(text, '\n')+1] }

// writeFile writes a value to a file below a directory, in one call, since the
// kernel takes each call for a whole value.
func writeFile(dir int, name, value string) error {
	fd, err := openat(dir, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return writeValue(fd, name, value)
}

func writeValue(fd int, name, value string) error {
	for {
		_, err := unix.Write(fd, []byte(value))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("writing %q to %s: %w", value, name, err)
		}
		return nil
	}
}

// openat opens one name below a directory. There are no symbolic links in a
// cgroup file system; one that is met all the same is not followed.
func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("opening %s: %w", name, err)
		}
		return fd, nil
	}
}

// openGroup opens a directory and insists that it is one of cgroup version 2.
func openGroup(at int, name string) (int, error) {
	fd, err := openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	var st unix.Statfs_t
	if err = unix.Fstatfs(fd, &st); err == nil && st.Type != unix.CGROUP2_SUPER_MAGIC {
		err = fmt.Errorf("%s is not in a cgroup file system of version 2", name)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
