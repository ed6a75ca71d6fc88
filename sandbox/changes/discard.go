package changes

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Discard takes changes back, so that the merged directory shows at each path
// what the lower layers have. Each path is that of a change; those below one of
// another may be given as well. Interrupted, it may be called again.
func (t *Tree) Discard(paths []string) error {
	return t.each(paths, t.revert)
}

// Settle removes from the upper what the lower layers have by now, because it
// was applied to them: owners and bits that are never applied aside. What differs
// from them is left as it is.
func (t *Tree) Settle(paths []string) error {
	return t.each(paths, t.settle)
}

// Clear takes everything back.
func (t *Tree) Clear() error {
	if err := removeBelow(t.upper, "."); err != nil {
		return fmt.Errorf("discarding: %w", err)
	}
	if err := unix.Fremovexattr(t.upper, xattrOpaque); err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("discarding: %w", err)
	}
	return nil
}

// each visits paths from the last to the first: what is in a directory before
// the directory.
func (t *Tree) each(paths []string, do func(p string, at *place) error) error {
	paths = slices.Clone(paths)
	slices.SortFunc(paths, func(a, b string) int {
		if a == b {
			return 0
		} else if Less(a, b) {
			return 1
		}
		return -1
	})
	for _, p := range paths {
		at, err := t.find(p)
		if err == nil {
			err = do(p, at)
		}
		if err == nil {
			err = t.prune(p)
		}
		if err != nil {
			return fmt.Errorf("discarding %q: %w", clip("/"+p), err)
		}
	}
	return nil
}

// place is what both sides have at a path.
type place struct {
	st     *unix.Stat_t // the upper's, nil for none
	below  *entry       // nil for none
	layers []int        // those of the lower directory that it is in
	hidden bool         // a directory above is opaque
}

// find looks at a path from the top. What is in the upper below something other
// than a directory cannot be.
func (t *Tree) find(p string) (*place, error) {
	if err := CheckPath(p); err != nil {
		return nil, err
	}
	at := &place{layers: t.all()}
	for _, dir := range above(p) {
		if dir != "" {
			e, err := t.lower(at.layers, dir)
			if err != nil {
				return nil, err
			}
			if at.layers = nil; e != nil {
				at.layers = e.dirs
			}
		}
		mark, err := t.opaque(t.upper, dir)
		if err != nil && !absent(err) {
			return nil, err
		}
		at.hidden = at.hidden || mark == "y"
	}
	var err error
	if at.below, err = t.lower(at.layers, p); err != nil {
		return nil, err
	}
	at.st, err = statAt(t.upper, p)
	return at, err
}

// above lists the directories that a path leads through, "" first.
func above(p string) []string {
	list := []string{""}
	for i := range len(p) {
		if p[i] == '/' {
			list = append(list, p[:i])
		}
	}
	return list
}

func (t *Tree) revert(p string, at *place) error {
	if at.below != nil && at.hidden {
		if err := t.unhide(p); err != nil {
			return err
		}
		st, err := statAt(t.upper, p)
		if err != nil {
			return err
		}
		at.st = st
	}
	if at.st == nil {
		return nil
	}
	isDir := at.st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir || at.below == nil || at.below.dirs == nil {
		return t.removeAt(p)
	}
	// A directory of both: its changes are paths of their own.
	fd, err := openAt(t.upper, p, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if at.st.Uid != at.below.st.Uid || at.st.Gid != at.below.st.Gid {
		if err := unix.Fchown(fd, int(at.below.st.Uid), int(at.below.st.Gid)); err != nil {
			return err
		}
	}
	return unix.Fchmod(fd, at.below.st.Mode&0o7777)
}

func (t *Tree) settle(p string, at *place) error {
	if at.below != nil && at.hidden {
		if err := t.unhide(p); err != nil {
			return err
		}
		st, err := statAt(t.upper, p)
		if err != nil {
			return err
		}
		at.st = st
	}
	if at.st == nil || at.st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil // prune removes directories that nothing is left in
	}
	white, err := whiteout(t.upper, p, at.st)
	if err != nil {
		return err
	}
	if white || at.below == nil {
		if white && at.below == nil {
			return t.removeAt(p)
		}
		return nil
	}
	old, now := metaOf(at.below.st), metaOf(at.st)
	if old.Type != now.Type || old.Type.Special() || now.Type == File && old.Mode&fileModes != now.Mode&fileModes {
		return nil
	}
	c := &Change{Kind: Changed, Path: p, Old: old, New: now}
	if now.Type == Symlink {
		if c.Target, err = readLink(t.upper, p); err != nil {
			return err
		}
	}
	if err := t.compare(c, at.below); err != nil || c.Content {
		return err
	}
	return t.removeAt(p)
}

// unhide makes the opaque directories above a path transparent: what they hide
// is then hidden entry by entry, and the path can be dealt with for itself.
func (t *Tree) unhide(p string) error {
	layers := t.all()
	for _, dir := range above(p) {
		if dir != "" {
			e, err := t.lower(layers, dir)
			if err != nil {
				return err
			}
			if e == nil || e.dirs == nil {
				return nil
			}
			layers = e.dirs
		}
		fd, err := openAt(t.upper, dir, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			if absent(err) {
				return nil
			}
			return err
		}
		mark, err := attribute(fd, xattrOpaque)
		if err == nil && mark == "y" {
			if err = t.hideEach(fd, dir, layers); err == nil {
				err = unix.Fremovexattr(fd, xattrOpaque)
			}
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// hideEach hides what the lower layers have in a directory of the upper.
func (t *Tree) hideEach(fd int, dir string, layers []int) error {
	list, err := t.lowerNames(layers, dir)
	if err != nil {
		return err
	}
	defer func() { t.budget += cost(list) }()
	for _, name := range list {
		below, err := t.lower(layers, join(dir, name))
		if err != nil {
			return err
		}
		if below == nil {
			continue
		}
		st, err := statAt(fd, name)
		switch {
		case err != nil:
			return err
		case st == nil:
			err = unix.Mknodat(fd, name, unix.S_IFCHR, 0)
		case st.Mode&unix.S_IFMT == unix.S_IFDIR && below.dirs != nil:
			var sub int
			if sub, err = openAt(fd, name, unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
				err = unix.Fsetxattr(sub, xattrOpaque, []byte("y"), 0)
				unix.Close(sub)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prune removes the directories above and at a path that are in the upper
// without saying anything: they would only hide what the host gets there later.
func (t *Tree) prune(p string) error {
	for dir := p; dir != ""; dir, _ = split(dir) {
		at, err := t.find(dir)
		if err != nil {
			return err
		}
		if at.st == nil || at.st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if at.below == nil || at.below.dirs == nil || at.hidden {
			return nil
		}
		gone, err := t.pruneAt(dir, at)
		if err != nil || !gone {
			return err
		}
	}
	return nil
}

func (t *Tree) pruneAt(dir string, at *place) (gone bool, err error) {
	fd, err := openAt(t.upper, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	list, err := names(fd, &t.budget)
	if err != nil {
		return false, err
	}
	t.budget += cost(list)
	mark, err := attribute(fd, xattrOpaque)
	if err != nil || len(list) > 0 {
		return false, err
	}
	if mark == "y" {
		hides, err := t.lowerNames(at.below.dirs, dir)
		if err != nil {
			return false, err
		}
		t.budget += cost(hides)
		if len(hides) > 0 {
			return false, nil
		}
		if err := unix.Fremovexattr(fd, xattrOpaque); err != nil {
			return false, err
		}
	}
	old := at.below.st
	if at.st.Mode != old.Mode || at.st.Uid != old.Uid || at.st.Gid != old.Gid {
		return false, nil
	}
	return true, t.removeAt(dir)
}
