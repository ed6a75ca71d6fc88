package probe

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// look fills in Files.
func (h *Host) look(paths []string) {
	h.Files = make(map[string]File, len(paths))
	for _, p := range paths {
		h.Files[p] = Look(p)
	}
}

// Look tells what is at a path, without following a symbolic link at its end.
// It never opens what it finds.
func Look(path string) File {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return File{Type: Absent}
		}
		return File{Type: Unknown, Problem: err.Error()}
	}
	f := File{
		Device: st.Dev, Inode: st.Ino, Mode: st.Mode & 0o7777,
		UID: st.Uid, GID: st.Gid,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.Type = Regular
	case unix.S_IFDIR:
		f.Type = Dir
	case unix.S_IFLNK:
		f.Type = Symlink
		link, err := readlink(path)
		if err != nil {
			return File{Type: Unknown, Problem: "reading the link: " + err.Error()}
		}
		f.Link = link
	default:
		f.Type = Other
		f.Rdev = st.Rdev
	}
	return f
}

// readlink returns a symbolic link's text. Links are shorter than PATH_MAX.
func readlink(path string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlink(path, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// readSmall reads the start of a file, up to the buffer's size. It is for the
// kernel's own files, which give all they have in one read.
func readSmall(path string, buf []byte) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}
}

// hasOption tells whether a list separated by commas holds the option.
func hasOption(list, option string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == option {
			return true
		}
	}
	return false
}
