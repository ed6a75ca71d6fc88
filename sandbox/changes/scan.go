package changes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Visit is called for each change, in the order of Less. Old and new files can
// be opened through the Source while it runs.
type Visit func(c *Change, s *Source) error

// Source is where the files of a change are.
type Source struct {
	path     string
	old, new int // layers' descriptors; -1 for none
}

// scanner walks an upper.
type scanner struct {
	*Tree
	visit Visit
}

// errRedirect is of an upper that brig did not make.
var errRedirect = errors.New("it has redirects or copies of metadata alone, which overlays with userxattr have not")

// Scan visits every change.
func (t *Tree) Scan(visit Visit) error {
	s := &scanner{Tree: t, visit: visit}
	return s.dir("", t.all(), false, false)
}

// dir visits what is in a directory of the upper. layers are those of the lower
// directory at the same place, hidden tells that they do not show through, and
// within that the directory itself is new.
func (s *scanner) dir(p string, layers []int, hidden, within bool) error {
	fd, err := openAt(s.upper, p, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return s.failed(p, err)
	}
	defer func() { unix.Close(fd) }()
	mark, err := attribute(fd, xattrOpaque)
	if err == nil {
		var redirect string
		if redirect, err = attribute(fd, xattrRedirect); err == nil && redirect != "" {
			err = errRedirect
		}
	}
	if err != nil {
		return s.failed(p, err)
	}
	hidden = hidden || mark == "y"
	list, err := names(fd, &s.budget)
	if err != nil {
		return s.failed(p, err)
	}
	if hidden && len(layers) > 0 {
		more, err := s.lowerNames(layers, p)
		if err != nil {
			return s.failed(p, err)
		}
		charged := cost(list) + cost(more)
		list = append(list, more...)
		slices.Sort(list)
		list = slices.Compact(list)
		s.budget += charged - cost(list)
	}
	// No descriptor is held on the way down: trees may be deeper than there are
	// descriptors.
	unix.Close(fd)
	fd = -1
	defer func() { s.budget += cost(list) }()
	for _, name := range list {
		if err := s.entry(join(p, name), layers, hidden, within); err != nil {
			return err
		}
	}
	return nil
}

// failed names the path. A path that is too long has no other cause.
func (s *scanner) failed(p string, err error) error {
	if errors.Is(err, unix.ENAMETOOLONG) {
		return fmt.Errorf("%q: its path is longer than %d bytes", clip(p), maxPath)
	}
	return fmt.Errorf("%q: %w", clip("/"+p), err)
}

func (s *scanner) entry(p string, layers []int, hidden, within bool) error {
	if len(p) > maxPath {
		return s.failed(p, unix.ENAMETOOLONG)
	}
	below, err := s.lower(layers, p)
	if err != nil {
		return s.failed(p, err)
	}
	st, err := statAt(s.upper, p)
	if err != nil {
		return s.failed(p, err)
	}
	if st != nil {
		white, err := whiteout(s.upper, p, st)
		if err != nil {
			return s.failed(p, err)
		}
		if white {
			st, hidden = nil, true
		}
	}
	switch {
	case st == nil && below == nil:
		return nil // a whiteout of nothing
	case st == nil && hidden:
		return s.deleted(p, below, within)
	case st == nil:
		return s.failed(p, errors.New("it went while it was looked at"))
	}
	c := &Change{Kind: Added, Path: p, New: metaOf(st), Within: within}
	src := &Source{path: p, old: -1, new: s.upper}
	if c.New.Type == Symlink {
		if c.Target, err = readLink(s.upper, p); err != nil {
			return s.failed(p, err)
		}
	}
	if below != nil {
		c.Kind, c.Old, src.old = Changed, metaOf(below.st), below.layer
		if err := s.compare(c, below); err != nil {
			return s.failed(p, err)
		}
	}
	differs := c.Kind == Added || c.Content || c.Old.Type != c.New.Type || c.Old.Mode != c.New.Mode || c.Old.UID != c.New.UID || c.Old.GID != c.New.GID
	if differs {
		if err := s.visit(c, src); err != nil {
			return err
		}
	}
	switch {
	case c.New.Type == Directory && below != nil && below.dirs != nil:
		return s.dir(p, below.dirs, hidden, within)
	case c.New.Type == Directory:
		return s.dir(p, nil, false, true)
	case below != nil && below.dirs != nil:
		return s.deletedBelow(p, below.dirs)
	}
	return nil
}

// deleted visits what a whiteout or an opaque directory hides.
func (s *scanner) deleted(p string, below *entry, within bool) error {
	c := &Change{Kind: Deleted, Path: p, Old: metaOf(below.st), Within: within}
	if err := s.visit(c, &Source{path: p, old: below.layer, new: -1}); err != nil {
		return err
	}
	return s.deletedBelow(p, below.dirs)
}

func (s *scanner) deletedBelow(p string, dirs []int) error {
	if len(dirs) == 0 {
		return nil
	}
	list, err := s.lowerNames(dirs, p)
	if err != nil {
		return s.failed(p, err)
	}
	defer func() { s.budget += cost(list) }()
	for _, name := range list {
		q := join(p, name)
		below, err := s.lower(dirs, q)
		if err != nil {
			return s.failed(q, err)
		}
		if below == nil {
			continue
		}
		if err := s.deleted(q, below, true); err != nil {
			return err
		}
	}
	return nil
}

// compare tells whether two files of one type hold the same.
func (t *Tree) compare(c *Change, below *entry) error {
	if c.Old.Type != c.New.Type {
		return nil
	}
	switch c.New.Type {
	case File:
		differ, err := t.filesDiffer(c, below)
		c.Content = differ
		return err
	case Symlink:
		old, err := readLink(below.layer, c.Path)
		c.Content = old != c.Target
		return err
	case Device:
		st, err := statAt(t.upper, c.Path)
		c.Content = err == nil && (st == nil || st.Rdev != below.st.Rdev || st.Mode&unix.S_IFMT != below.st.Mode&unix.S_IFMT)
		return err
	case Directory, FIFO, Socket:
	}
	return nil
}

func (t *Tree) filesDiffer(c *Change, below *entry) (bool, error) {
	a, err := openFile(t.upper, c.Path)
	if err != nil {
		return false, err
	}
	defer a.Close()
	// It has a meaning also where it is empty.
	if _, err := unix.Fgetxattr(int(a.Fd()), xattrMetacopy, nil); err == nil {
		return false, errRedirect
	}
	if c.Old.Size != c.New.Size {
		return true, nil
	}
	b, err := openFile(below.layer, c.Path)
	if err != nil {
		return false, err
	}
	defer b.Close()
	return contentsDiffer(a, b, c.New.Size)
}

// contentsDiffer compares two files of one size. What is a hole in both is not
// read: a job can make holes of any size.
func contentsDiffer(a, b *os.File, size int64) (bool, error) {
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); at < size; {
		inA, err := nextData(a, at, size)
		if err != nil {
			return false, err
		}
		inB, err := nextData(b, at, size)
		if err != nil {
			return false, err
		}
		if at = min(inA, inB); at >= size {
			return false, nil
		}
		n, err := readAt(a, x, at)
		if err != nil {
			return false, err
		}
		m, err := readAt(b, y, at)
		if err != nil || n == 0 || !bytes.Equal(x[:n], y[:m]) {
			return err == nil, err // one that was cut short meanwhile differs
		}
		at += int64(n)
	}
	return false, nil
}

// nextData finds the first byte from at on that is not in a hole; size where
// there is none.
func nextData(f *os.File, at, size int64) (int64, error) {
	data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, nil // nothing but a hole
	case errors.Is(err, unix.EINVAL):
		return at, nil // no holes on this file system
	}
	return min(data, size), err
}

// readAt fills a buffer as far as there is something.
func readAt(f *os.File, buf []byte, at int64) (int, error) {
	n, err := f.ReadAt(buf, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
