package changes

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Modes that are brought to the host: no bit that gives somebody else's rights.
const (
	fileModes = 0o777
	dirModes  = 0o1777
)

// Apply brings one change to the host. content writes the new file's bytes. The
// errors that concern this change alone are *Conflict and *Refused. Changes come
// in the order of Less; what is in a directory that goes as a whole is left out.
// Begin comes before, Finish after.
func (t *Target) Apply(c *Change, content func(f *os.File) error) error {
	now, err := t.check(c)
	if err != nil {
		return err
	}
	if now == nil && c.New == nil {
		return t.settled(c.Path, nil) // it is gone already
	}
	dir, name := split(c.Path)
	parent, err := openAt(t.root, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		if absent(err) {
			return &Conflict{c.Path, "would be in a directory that is not there on the host"}
		}
		return fmt.Errorf("%q: opening its directory: %w", clip(c.Path), err)
	}
	defer unix.Close(parent)
	switch {
	case c.New == nil:
		err = t.swap(parent, name, step{Path: []byte(c.Path), Temp: newTemp(), Old: now, Force: t.force})
	case c.New.Type == Directory:
		err = t.directory(parent, name, c, now)
	case c.New.Type == File && c.Old != nil && c.Old.Type == File && !c.Content && now != nil && !now.isDir():
		err = t.mode(c, now, c.New.Mode&fileModes)
	default:
		err = t.replace(parent, name, c, now, content)
	}
	return err
}

// settled notes what is at a path now.
func (t *Target) settled(p string, now *Was) error {
	t.note(p, now)
	return t.journal.write(step{Op: stepDone, Path: []byte(p), Now: now}, false)
}

// note remembers what is at a path now.
func (t *Target) note(p string, now *Was) {
	t.done[p] = now
	if was, known := t.base.Names[p]; known && was.isDir() && (now == nil || !now.isDir()) {
		for q := range t.base.Names {
			if Below(q, p) {
				delete(t.base.Names, q)
			}
		}
	}
	if now == nil {
		delete(t.base.Names, p)
	} else {
		t.base.Names[p] = *now
	}
}

// newTemp is a name that nobody can have guessed.
func newTemp() string { return tempPrefix + rand.Text() }

// mode changes the mode of a file that holds what it should, in place.
func (t *Target) mode(c *Change, was *Was, mode uint32) error {
	fd, err := openAt(t.root, c.Path, unix.O_PATH)
	if err != nil {
		return fmt.Errorf("%q: %w", clip(c.Path), err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%q: %w", clip(c.Path), err)
	}
	if !was.same(WasOf(&st), false) || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return &Conflict{c.Path, "was changed on the host at this moment"}
	}
	if st.Mode&0o7777 != mode {
		if err := t.journal.write(step{Op: stepMode, Path: []byte(c.Path), Old: was, Mode: mode}, false); err != nil {
			return err
		}
		if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode); err != nil {
			return fmt.Errorf("%q: changing its mode: %w", clip(c.Path), err)
		}
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%q: %w", clip(c.Path), err)
	}
	return t.settled(c.Path, WasOf(&st))
}

// directory makes a directory, or gives the one that is there its mode. Until
// Finish its owner may write it.
func (t *Target) directory(parent int, name string, c *Change, now *Was) error {
	mode := c.New.Mode & dirModes
	t.modes[c.Path] = mode
	if now != nil && now.isDir() {
		delete(t.modes, c.Path)
		if err := t.mode(c, now, mode|0o700); err != nil {
			return err
		}
		t.modes[c.Path] = mode
		return nil
	}
	s := step{Op: stepMake, Path: []byte(c.Path), Temp: newTemp(), Old: now, Force: t.force}
	if err := t.journal.write(s, false); err != nil {
		return err
	}
	err := unix.Mkdirat(parent, s.Temp, 0o700)
	var fd int
	if err == nil {
		if fd, err = openAt(parent, s.Temp, unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
			defer unix.Close(fd)
			err = t.give(parent, fd, c, now)
		}
		if err == nil {
			err = unix.Fchmod(fd, mode|0o700)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%q: making the directory: %w", clip(c.Path), err), t.drop(parent, s.Temp))
	}
	return t.place(parent, name, fd, s)
}

// replace makes a file or link under a temporary name and puts it in place.
func (t *Target) replace(parent int, name string, c *Change, now *Was, content func(f *os.File) error) error {
	s := step{Op: stepMake, Path: []byte(c.Path), Temp: newTemp(), Old: now, Force: t.force}
	if err := t.journal.write(s, false); err != nil {
		return err
	}
	var fd int
	var err error
	if c.New.Type == Symlink {
		if err = unix.Symlinkat(c.Target, parent, s.Temp); err == nil {
			fd, err = openAt(parent, s.Temp, unix.O_PATH)
		}
		if err == nil {
			defer unix.Close(fd)
			err = t.give(parent, fd, c, now)
		}
	} else {
		fd, err = unix.Openat(parent, s.Temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			f := os.NewFile(uintptr(fd), c.Path)
			defer f.Close()
			if err = content(f); err == nil {
				err = t.give(parent, fd, c, now)
			}
			if err == nil {
				err = f.Chmod(os.FileMode(c.New.Mode & fileModes))
			}
			if err == nil {
				err = f.Sync()
			}
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%q: writing it: %w", clip(c.Path), err), t.drop(parent, s.Temp))
	}
	return t.place(parent, name, fd, s)
}

// give makes what root has made somebody's: who owned the file that it replaces,
// where the job has left that alone, else the owner of the whole directory, to whom
// belongs what the job makes. The group is the parent's where that says so.
// Everybody else owns what they make.
func (t *Target) give(parent, fd int, c *Change, now *Was) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(t.root, &st); err != nil {
		return err
	}
	uid, gid := int(st.Uid), int(st.Gid)
	if err := unix.Fstat(parent, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_ISGID != 0 {
		gid = -1 // as it is
	}
	if now != nil && c.Old != nil && c.Old.UID == c.New.UID && c.Old.GID == c.New.GID {
		uid, gid = int(now.UID), int(now.GID)
	}
	return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
}

// drop removes a temporary file that is not wanted.
func (t *Target) drop(parent int, temp string) error {
	err := unix.Unlinkat(parent, temp, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(parent, temp, unix.AT_REMOVEDIR)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing the temporary %s: %w", temp, err)
	}
	return nil
}

// place puts a finished temporary file in place.
func (t *Target) place(parent int, name string, fd int, s step) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%q: %w", clip(string(s.Path)), err)
	}
	s.Inode = st.Ino
	return t.swap(parent, name, s)
}

// Finish gives directories the modes that they are to have, and waits until all
// is on the disk: until then the journal and the upper know of it.
func (t *Target) Finish() error {
	for _, p := range slices.Backward(slices.Sorted(maps.Keys(t.modes))) {
		fd, err := openAt(t.root, p, unix.O_RDONLY|unix.O_DIRECTORY)
		if absent(err) {
			continue // removed since
		}
		var st unix.Stat_t
		if err == nil {
			if err = unix.Fchmod(fd, t.modes[p]); err == nil {
				err = unix.Fstat(fd, &st)
			}
			unix.Close(fd)
		}
		if err == nil {
			err = t.settled(p, WasOf(&st))
		}
		if err != nil {
			return fmt.Errorf("%q: giving it its mode: %w", clip(p), err)
		}
	}
	clear(t.modes)
	if err := unix.Syncfs(t.root); err != nil {
		return fmt.Errorf("writing everything to the disk: %w", err)
	}
	return nil
}
