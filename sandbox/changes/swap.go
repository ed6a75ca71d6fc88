package changes

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// swap exchanges the temporary file with what is in place, or moves it there, or
// moves what is there aside; and looks at what came out before that goes: what
// another process has put there in the meantime comes back.
func (t *Target) swap(parent int, name string, s step) error {
	s.Op = stepSwap
	if err := t.journal.write(s, true); err != nil {
		return err
	}
	err := rename(parent, name, &s)
	if err != nil {
		if s.Inode != 0 {
			err = errors.Join(err, t.drop(parent, s.Temp))
		}
		return err
	}
	return t.swapped(parent, name, &s)
}

// rename does what a swap step says.
func rename(parent int, name string, s *step) error {
	var err error
	what := "moving it into place"
	switch {
	case s.Inode == 0:
		what = "moving it aside"
		err = unix.Renameat2(parent, name, parent, s.Temp, unix.RENAME_NOREPLACE)
	case s.Old == nil:
		err = unix.Renameat2(parent, s.Temp, parent, name, unix.RENAME_NOREPLACE)
	default:
		err = unix.Renameat2(parent, s.Temp, parent, name, unix.RENAME_EXCHANGE)
	}
	switch {
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOENT):
		return &Conflict{string(s.Path), "was changed on the host at this moment"}
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%q: the file system cannot exchange two files in one step (%w)\n  fix: have the directory on a file system of this machine", clip(string(s.Path)), err)
	case err != nil:
		return fmt.Errorf("%q: %s: %w", clip(string(s.Path)), what, err)
	}
	return nil
}

// swapped deals with what came out of a swap.
func (t *Target) swapped(parent int, name string, s *step) error {
	p := string(s.Path)
	if s.Old != nil {
		if why := t.came(parent, s); why != nil {
			return t.undo(parent, name, s, why)
		}
		if err := t.removeOld(parent, s); err != nil {
			return err
		}
		t.refreshLinks()
	}
	if s.Inode == 0 {
		return t.settled(p, nil)
	}
	st, err := statAt(parent, name)
	if err != nil {
		return fmt.Errorf("%q: %w", clip(p), err)
	}
	if st == nil || st.Ino != s.Inode {
		return &Conflict{p, "was changed on the host at this moment"}
	}
	return t.settled(p, WasOf(st))
}

// came tells whether what came out is what was expected; nil if so.
func (t *Target) came(parent int, s *step) error {
	p := string(s.Path)
	st, err := statAt(parent, s.Temp)
	if err != nil {
		return err
	}
	if st == nil {
		return nil // removed already
	}
	if !s.Old.same(WasOf(st), true) {
		return &Conflict{p, "was changed on the host at this moment"}
	}
	if s.Old.isDir() && !s.Force {
		return t.base.expectTree(parent, s.Temp, p, true)
	}
	return nil
}

// undo puts back what was not to be replaced.
func (t *Target) undo(parent int, name string, s *step, why error) error {
	var err error
	if s.Inode == 0 {
		err = unix.Renameat2(parent, s.Temp, parent, name, unix.RENAME_NOREPLACE)
	} else if err = unix.Renameat2(parent, s.Temp, parent, name, unix.RENAME_EXCHANGE); err == nil {
		err = t.drop(parent, s.Temp)
	}
	if err != nil {
		return errors.Join(why, fmt.Errorf("what was there is %s beside it, and cannot be put back: %w", s.Temp, err))
	}
	return why
}

// removeOld removes what came out. In a directory only what the job was shown
// goes: the rest stays, under its temporary name.
func (t *Target) removeOld(parent int, s *step) error {
	var st unix.Stat_t
	if unix.Fstatat(parent, s.Temp, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		t.lost(&st)
	}
	err := unix.Unlinkat(parent, s.Temp, 0)
	if errors.Is(err, unix.EISDIR) {
		if s.Force {
			err = removeBelow(parent, s.Temp)
		} else {
			err = t.removeKnown(parent, s.Temp, string(s.Path))
		}
		if err == nil {
			err = unix.Unlinkat(parent, s.Temp, unix.AT_REMOVEDIR)
		}
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%q: removing what was there, which is %s now: %w", clip(string(s.Path)), s.Temp, err)
	}
	return nil
}

// removeKnown empties a directory of what the base knows.
func (t *Target) removeKnown(root int, at, p string) error {
	fd, err := openAt(root, at, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	budget := maxNameBytes
	list, err := names(fd, &budget)
	if err != nil {
		return err
	}
	for _, name := range list {
		q := join(p, name)
		st, err := statAt(fd, name)
		if err != nil {
			return err
		}
		if st == nil {
			continue
		}
		now := WasOf(st)
		if was, known := t.base.Names[q]; !known || !was.same(now, true) {
			return &Conflict{q, "was changed on the host at this moment"}
		}
		flags := 0
		if now.isDir() {
			flags = unix.AT_REMOVEDIR
			if err := t.removeKnown(fd, name, q); err != nil {
				return err
			}
		}
		t.lost(st)
		if err := unix.Unlinkat(fd, name, flags); err != nil {
			return err
		}
	}
	return nil
}

// lost remembers a file that is about to lose a name and has others.
func (t *Target) lost(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.linked[st.Ino] = true
	}
}

// refreshLinks takes note that files have a new change time because they lost
// one of their names here: that is no change of their own.
func (t *Target) refreshLinks() {
	if len(t.linked) == 0 {
		return
	}
	for p, was := range t.base.Names {
		if !t.linked[was.Inode] {
			continue
		}
		if st, err := statAt(t.root, p); err == nil && st != nil && was.same(WasOf(st), true) {
			t.base.Names[p] = *WasOf(st)
		}
	}
	clear(t.linked)
}
