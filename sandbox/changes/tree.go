package changes

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// The attributes that overlayfs keeps with userxattr, see
// Documentation/filesystems/overlayfs.rst.
const (
	xattrOpaque   = "user.overlay.opaque"   // "y"; "x" where regular files may be whiteouts
	xattrWhiteout = "user.overlay.whiteout" // on an empty file
	xattrRedirect = "user.overlay.redirect"
	xattrMetacopy = "user.overlay.metacopy"
)

// Tree is an overlay's upper with its lower layers. Nothing may have it mounted.
type Tree struct {
	upper  int
	lowers []int // top first
	budget int
}

// Open opens an upper and its lower layers, bottom first.
func Open(upper string, lowers ...string) (*Tree, error) {
	t := &Tree{upper: -1, budget: maxNameBytes}
	var err error
	if t.upper, err = openTop(upper); err != nil {
		return nil, err
	}
	for _, dir := range slices.Backward(lowers) {
		fd, err := openTop(dir)
		if err != nil {
			t.Close()
			return nil, err
		}
		t.lowers = append(t.lowers, fd)
	}
	return t, nil
}

func openTop(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening %s: %w", dir, err)
	}
	return fd, nil
}

// Close closes the directories.
func (t *Tree) Close() {
	for _, fd := range append(slices.Clone(t.lowers), t.upper) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	t.lowers, t.upper = nil, -1
}

// all are the layers that have a part in the merged root.
func (t *Tree) all() []int {
	list := make([]int, len(t.lowers))
	for i := range list {
		list[i] = i
	}
	return list
}

// attribute reads an extended attribute; "" where there is none.
func attribute(fd int, name string) (string, error) {
	buf := make([]byte, 64)
	n, err := unix.Fgetxattr(fd, name, buf)
	switch {
	case err == nil:
		return string(buf[:n]), nil
	case errors.Is(err, unix.ERANGE):
		return "?", nil // too long for any that has a meaning here
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return "", nil
	}
	return "", err
}

// opaque opens a directory and reads whether it hides what is below it: "y", or
// "x" where it does not and regular files in it may be whiteouts.
func (t *Tree) opaque(layer int, p string) (string, error) {
	fd, err := openAt(layer, p, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return attribute(fd, xattrOpaque)
}

// whiteout tells whether an entry hides one of the layers below.
func whiteout(layer int, p string, st *unix.Stat_t) (bool, error) {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
		return true, nil
	case st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != 0:
		return false, nil
	}
	dir, _ := split(p)
	fd, err := openAt(layer, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false, err
	}
	mark, err := attribute(fd, xattrOpaque)
	unix.Close(fd)
	if err != nil || mark != "x" {
		return false, err
	}
	f, err := openFile(layer, p)
	if err != nil {
		return false, err
	}
	defer f.Close()
	buf := make([]byte, 64)
	_, err = unix.Fgetxattr(int(f.Fd()), xattrWhiteout, buf)
	return err == nil || errors.Is(err, unix.ERANGE), nil
}

// entry is what the lower layers show at a path.
type entry struct {
	st    *unix.Stat_t
	layer int   // descriptor of the one that has it
	dirs  []int // of a directory: the layers that have a part in it, top first
}

// lower finds what the given layers, those of the directory that holds p, show.
func (t *Tree) lower(layers []int, p string) (*entry, error) {
	var found *entry
	for at, i := range layers {
		fd := t.lowers[i]
		st, err := statAt(fd, p)
		if err != nil {
			return nil, err
		}
		if st == nil {
			continue
		}
		hides, err := whiteout(fd, p, st)
		if err != nil {
			return nil, err
		}
		if hides {
			break
		}
		if dir := st.Mode&unix.S_IFMT == unix.S_IFDIR; found != nil && !dir {
			break
		} else if found == nil {
			found = &entry{st: st, layer: fd}
			if !dir {
				break
			}
		}
		found.dirs = append(found.dirs, i)
		if at+1 < len(layers) {
			mark, err := t.opaque(fd, p)
			if err != nil {
				return nil, err
			}
			if mark == "y" {
				break
			}
		}
	}
	return found, nil
}

// lowerNames lists what the layers show in a directory.
func (t *Tree) lowerNames(dirs []int, p string) ([]string, error) {
	var list []string
	for _, i := range dirs {
		fd, err := openAt(t.lowers[i], p, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		more, err := names(fd, &t.budget)
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	charged := cost(list)
	slices.Sort(list)
	list = slices.Compact(list)
	t.budget += charged - cost(list)
	return list, nil
}
