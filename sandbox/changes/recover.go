package changes

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// recover ends what an interrupted application was at: a temporary file that
// had not changed places goes, one that had stays, and what came out is dealt
// with as if nothing had happened. Directories may still have to get their
// modes: they count as changed then.
func (t *Target) recover(steps []step) error {
	open := map[string]step{}
	for _, s := range steps {
		p := string(s.Path)
		switch s.Op {
		case stepMake, stepMode:
			open[p] = s
		case stepSwap:
			open[p] = s
			if s.Old != nil && !s.Old.isDir() {
				t.linked[s.Old.Inode] = true // it may have had other names
			}
		case stepDone:
			delete(open, p)
			t.note(p, s.Now)
		}
	}
	t.refreshLinks()
	for p, s := range open {
		if err := t.resume(p, &s); err != nil {
			return fmt.Errorf("ending an interrupted apply: %w", err)
		}
	}
	return nil
}

// resume ends one step.
func (t *Target) resume(p string, s *step) error {
	dir, name := split(p)
	parent, err := openAt(t.root, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if absent(err) {
		return nil // with its directory all is gone
	}
	if err != nil {
		return fmt.Errorf("%q: %w", clip(p), err)
	}
	defer unix.Close(parent)
	switch s.Op {
	case stepMake:
		return t.drop(parent, s.Temp)
	case stepMode:
		st, err := statAt(parent, name)
		if err == nil && st != nil && st.Ino == s.Old.Inode && st.Mode == s.Old.Mode&unix.S_IFMT|s.Mode {
			return t.settled(p, WasOf(st))
		}
		return err
	}
	temp, err := statAt(parent, s.Temp)
	if err != nil {
		return fmt.Errorf("%q: %w", clip(p), err)
	}
	here, err := statAt(parent, name)
	if err != nil {
		return fmt.Errorf("%q: %w", clip(p), err)
	}
	switch {
	case temp != nil && s.Inode != 0 && temp.Ino == s.Inode:
		return t.drop(parent, s.Temp) // not swapped yet
	case temp == nil && s.Inode == 0:
		if here != nil {
			return nil // not moved yet; or moved back
		}
		return t.settled(p, nil)
	case temp == nil && (here == nil || here.Ino != s.Inode):
		return nil // it was undone, or removed since
	}
	err = t.swapped(parent, name, s)
	if _, conflict := err.(*Conflict); conflict { //nolint:errorlint // joined with an error it is more than a conflict
		return nil // it is as it was, and comes up again
	}
	return err
}
