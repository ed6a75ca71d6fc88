package changes

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Was is what a file was when the job first saw it, or is now.
type Was struct {
	Inode uint64        `json:"inode"`
	Mode  uint32        `json:"mode"` // st_mode, the type included
	UID   uint32        `json:"uid"`
	GID   uint32        `json:"gid"`
	Size  int64         `json:"size"`
	MTime unix.Timespec `json:"mtime"`
	CTime unix.Timespec `json:"ctime"`
}

// WasOf takes from a stat(2) what tells whether a file is still the same.
func WasOf(st *unix.Stat_t) *Was {
	return &Was{Inode: st.Ino, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Size: st.Size, MTime: st.Mtim, CTime: st.Ctim}
}

func (w *Was) isDir() bool { return w.Mode&unix.S_IFMT == unix.S_IFDIR }

// same tells whether a file is still what it was. Of directories, whose times and
// size change with what is in them, the inode, mode and owner count. A rename
// changes the ctime, so that moved files are compared without it.
func (w *Was) same(now *Was, moved bool) bool {
	if w.Inode != now.Inode || w.Mode != now.Mode || w.UID != now.UID || w.GID != now.GID {
		return false
	}
	return w.isDir() || w.Size == now.Size && w.MTime == now.MTime && (moved || w.CTime == now.CTime)
}

// Base is what the host's directory held when the job first saw it, by path;
// "." is the directory itself.
type Base struct {
	Names    map[string]Was
	Complete bool // a name that is not in it did not exist
}

// Conflict is a change that is not applied because the host's file is not what
// the job was shown. Its path is that of the file in question.
type Conflict struct {
	Path string
	Why  string
}

// Error says what is in conflict.
func (c *Conflict) Error() string { return fmt.Sprintf("%q %s", clip(c.Path), c.Why) }

// Refused is a change that is never applied.
type Refused struct {
	Path string
	Why  string
}

// Error says what is refused.
func (r *Refused) Error() string { return fmt.Sprintf("%q %s", clip(r.Path), r.Why) }

// expect compares what is at a path now with what was there. now is nil for
// nothing. The change times of moved files do not count.
func (b *Base) expect(p string, now *Was, moved bool) error {
	was, known := b.Names[p]
	switch {
	case now == nil && known:
		return &Conflict{p, "was removed on the host since the job first ran"}
	case now == nil:
		return nil
	case !known && b.Complete:
		return &Conflict{p, "was made on the host since the job first ran"}
	case !known:
		return &Conflict{p, "may be another one than the job saw: what was there could not be recorded whole"}
	case !was.same(now, moved):
		return &Conflict{p, "was changed on the host since the job first ran"}
	}
	return nil
}

// expectTree compares all that is in a directory. What is gone already is no
// conflict.
func (b *Base) expectTree(root int, at, p string, moved bool) error {
	fd, err := openAt(root, at, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return &Conflict{p, "cannot be read: " + err.Error()}
	}
	budget := maxNameBytes
	list, err := names(fd, &budget)
	unix.Close(fd)
	if err != nil {
		return err
	}
	for _, name := range list {
		st, err := statAt(root, join(at, name))
		if err != nil {
			return err
		}
		if st == nil {
			continue
		}
		now := WasOf(st)
		if err := b.expect(join(p, name), now, moved); err != nil {
			return err
		}
		if now.isDir() {
			if err := b.expectTree(root, join(at, name), join(p, name), moved); err != nil {
				return err
			}
		}
	}
	return nil
}

// Target is the host's directory that changes are brought to. It is only ever
// reached through its descriptor.
type Target struct {
	root    int
	base    *Base
	force   bool
	journal *Journal
	modes   map[string]uint32 // of directories, set last
	done    map[string]*Was   // what was applied: nil is deleted
	linked  map[uint64]bool   // inodes that lost a name, and have others
}

// OpenTarget opens the host's directory. With force conflicts do not count.
func OpenTarget(dir string, base *Base, force bool) (*Target, error) {
	root, err := openTop(dir)
	if err != nil {
		return nil, err
	}
	t := &Target{root: root, base: base, force: force, modes: map[string]uint32{}, done: map[string]*Was{}, linked: map[uint64]bool{}}
	var st unix.Stat_t
	if err = unix.Fstat(root, &st); err != nil {
		t.Close()
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	if was, ok := base.Names["."]; !force && (!ok || was.Inode != st.Ino) {
		t.Close()
		return nil, &Conflict{dir, "is another directory than the job was given"}
	}
	return t, nil
}

// Close closes the directory, and the journal where there is one.
func (t *Target) Close() {
	unix.Close(t.root)
	if t.journal != nil {
		t.journal.close()
	}
}

// Check tells what stands against a change: nil, or an error that is a
// *Conflict or *Refused. It changes nothing.
func (t *Target) Check(c *Change) error {
	_, err := t.check(c)
	return err
}

// check gives what is at the path now, nil for nothing.
func (t *Target) check(c *Change) (*Was, error) {
	if c.New != nil && c.New.Type.Special() {
		return nil, &Refused{c.Path, "is a " + string(c.New.Type) + ", which is not brought to the host"}
	}
	st, err := statAt(t.root, c.Path)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", clip(c.Path), err)
	}
	var now *Was
	if st != nil {
		now = WasOf(st)
	}
	if t.force || c.New == nil && now == nil {
		return now, nil
	}
	if now != nil && now.isDir() && c.New != nil && c.New.Type == Directory {
		if _, known := t.base.Names[c.Path]; !known {
			return now, nil // both made it
		}
	}
	if err := t.base.expect(c.Path, now, false); err != nil {
		return now, err
	}
	if now != nil && now.isDir() && (c.New == nil || c.New.Type != Directory) {
		return now, t.base.expectTree(t.root, c.Path, c.Path, false)
	}
	return now, nil
}

// Leaves tells whether a symbolic link leads out of the directory, by its text.
func Leaves(c *Change) bool {
	if c.New == nil || c.New.Type != Symlink {
		return false
	}
	if c.Target[0] == '/' {
		return true
	}
	// It is followed part by part: a/../../b leaves even where a is missing.
	depth := len(above(c.Path)) - 1
	for part := range strings.SplitSeq(c.Target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}
