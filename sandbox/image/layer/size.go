package layer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// maxSizeDepth bounds the depth of what Size measures: each level keeps a
// descriptor open.
const maxSizeDepth = 8192

// Size adds the space that the files below a directory occupy, each once however
// many links it has, and their number to a report. It follows no link.
func Size(dir string, r *Report) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil {
		err = sizeFD(fd, r, map[inode]bool{}, 0)
	}
	if err != nil {
		return fmt.Errorf("measuring %s: %w", dir, err)
	}
	return nil
}

// sizeFD measures a directory and closes it.
func sizeFD(fd int, r *Report, seen map[inode]bool, depth int) error {
	defer unix.Close(fd)
	if depth > maxSizeDepth {
		return fmt.Errorf("directories are nested more than %d deep", maxSizeDepth)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				continue // gone since
			}
			id := inode{st.Dev, st.Ino}
			if st.Nlink == 1 || st.Mode&unix.S_IFMT == unix.S_IFDIR || !seen[id] {
				r.Bytes += st.Blocks * 512
				r.Files++
			}
			if st.Nlink > 1 {
				seen[id] = true
			}
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				continue
			}
			sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if errors.Is(err, unix.ENOENT) {
				continue
			}
			if err != nil {
				return err
			}
			if err := sizeFD(sub, r, seen, depth+1); err != nil {
				return err
			}
		}
	}
}
