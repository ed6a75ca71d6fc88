package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one path may lead through, as the kernel
// has it (path_resolution(7)).
const maxLinks = 40

// maxDepth bounds the components of a path with all its links.
const maxDepth = 256

// ReadFile reads a regular file of at most limit bytes from layers, bottom
// first, each an unpacked OCI layer as overlayfs with userxattr has it. Links
// are followed inside the root. Its errors are *fs.PathError; what the merged
// root does not have is fs.ErrNotExist.
func ReadFile(layers []string, name string, limit int64) ([]byte, error) {
	w := &walk{}
	defer w.close()
	b, err := w.read(layers, name, limit)
	if err != nil {
		var inner *fs.PathError
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, nil
}

// IsDir tells whether the merged root has a directory of that name. What cannot
// be looked at counts as none.
func IsDir(layers []string, name string) bool {
	_, err := ReadFile(layers, name, 0)
	return errors.Is(err, unix.EISDIR)
}

// merged is a directory as the overlay shows it: the same directory in several
// layers, top first.
type merged []int

// walk is the state of one look-up.
type walk struct {
	fds  []int
	root merged
	// at is the current directory with those above it.
	at []merged
}

func (w *walk) close() {
	for _, fd := range w.fds {
		unix.Close(fd)
	}
}

func (w *walk) open(dir int, name string, flags int) (int, error) {
	fd, err := unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		w.fds = append(w.fds, fd)
	}
	return fd, err
}

func (w *walk) read(layers []string, name string, limit int64) ([]byte, error) {
	for i := len(layers) - 1; i >= 0; i-- {
		fd, err := w.open(unix.AT_FDCWD, layers[i], unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		w.root = append(w.root, fd)
	}
	w.at = []merged{w.root}
	rest := strings.Split(name, "/")
	links, steps := 0, 0
	for len(rest) > 0 {
		c := rest[0]
		rest = rest[1:]
		if steps++; steps > maxDepth {
			return nil, unix.ENAMETOOLONG
		}
		switch c {
		case "", ".":
			continue
		case "..":
			w.at = w.at[:max(1, len(w.at)-1)]
			continue
		}
		e, err := w.find(w.at[len(w.at)-1], c)
		switch {
		case err != nil:
			return nil, err
		case e.dirs != nil:
			w.at = append(w.at, e.dirs)
		case e.link != "":
			if links++; links > maxLinks {
				return nil, unix.ELOOP
			}
			if path.IsAbs(e.link) {
				w.at = w.at[:1]
			}
			rest = append(strings.Split(e.link, "/"), rest...)
		case len(rest) > 0:
			return nil, unix.ENOTDIR
		default:
			return w.content(e.parent, c, limit)
		}
	}
	return nil, unix.EISDIR
}

// entry is what a name stands for: a directory, a link, or else a file below
// parent.
type entry struct {
	dirs   merged
	link   string
	parent int
}

// find looks a name up in a directory, as ovl_lookup of the kernel does: the
// uppermost layer that has it says what it is, and a directory goes on in the
// layers below until one has something else there, or hides them.
func (w *walk) find(dir merged, name string) (*entry, error) {
	e := &entry{}
	for _, parent := range dir {
		fd, err := w.open(parent, name, unix.O_PATH)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, err
		}
		kind := st.Mode & unix.S_IFMT
		switch {
		case kind == unix.S_IFDIR:
			e.dirs = append(e.dirs, fd)
			hides, err := isOpaque(fd)
			if err != nil {
				return nil, err
			}
			if hides {
				return e, nil
			}
			continue
		case e.dirs != nil: // hidden by the directory above it
			return e, nil
		case kind == unix.S_IFCHR && st.Rdev == 0: // a whiteout
			return nil, fs.ErrNotExist
		case kind == unix.S_IFLNK:
			buf := make([]byte, unix.PathMax)
			n, err := unix.Readlinkat(fd, "", buf)
			if err != nil {
				return nil, err
			}
			if n == 0 || n == len(buf) {
				return nil, unix.ENAMETOOLONG
			}
			e.link = string(buf[:n])
		case kind != unix.S_IFREG:
			return nil, errors.New("not a regular file")
		default:
			e.parent = parent
		}
		return e, nil
	}
	if e.dirs == nil {
		return nil, fs.ErrNotExist
	}
	return e, nil
}

// isOpaque tells whether a directory hides those of the layers below it, see
// "whiteouts and opaque directories" in the kernel's overlayfs.rst.
func isOpaque(fd int) (bool, error) {
	var value [2]byte
	n, err := unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", fd), "user.overlay.opaque", value[:])
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case errors.Is(err, unix.ERANGE): // longer, so it is not "y"
		return false, nil
	case err != nil:
		return false, err
	}
	return n == 1 && value[0] == 'y', nil
}

// content reads the file that find has seen.
func (w *walk) content(parent int, name string, limit int64) ([]byte, error) {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("not a regular file"))
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	return b, err
}
