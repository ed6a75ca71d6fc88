package changes

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is how docker diff names changes: A, C or D.
type Kind string

// The kinds.
const (
	Added   Kind = "A"
	Changed Kind = "C"
	Deleted Kind = "D"
)

// Type is a file's type.
type Type string

// The types. Device is a character or block device.
const (
	File      Type = "file"
	Directory Type = "directory"
	Symlink   Type = "symlink"
	FIFO      Type = "fifo"
	Socket    Type = "socket"
	Device    Type = "device"
)

// Special tells of types that are more than bytes: nothing brings them to the
// host.
func (t Type) Special() bool { return t == FIFO || t == Socket || t == Device }

// Meta is what is told of a file. Ids are those of the reader's user namespace.
type Meta struct {
	Type Type   `json:"type"`
	Mode uint32 `json:"mode"` // the twelve permission bits
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Size int64  `json:"size"` // bytes; of a directory 0
}

// Change is one changed path.
type Change struct {
	Kind Kind   `json:"kind"`
	Path string `json:"-"` // relative to the merged directory, as bytes; never empty
	// Old is the file before, nil where there was none, New the one after.
	Old *Meta `json:"old,omitempty"`
	New *Meta `json:"new,omitempty"`
	// Content tells, for two files or two symbolic links, that they differ.
	Content bool `json:"content,omitempty"`
	// Target is where a new symbolic link leads.
	Target string `json:"-"`
	// Within is for what is in a directory that was itself added or deleted, or
	// that was replaced or replaces something.
	Within bool `json:"within,omitempty"`
}

// What says in words what is different about a changed path.
func (c *Change) What() string {
	if c.Old == nil || c.New == nil {
		return ""
	}
	if c.Old.Type != c.New.Type {
		return fmt.Sprintf("%s, was %s", c.New.Type, c.Old.Type)
	}
	var list []string
	if c.Content {
		list = append(list, "content")
	}
	if c.Old.Mode != c.New.Mode {
		list = append(list, fmt.Sprintf("mode %04o, was %04o", c.New.Mode, c.Old.Mode))
	}
	if c.Old.UID != c.New.UID || c.Old.GID != c.New.GID {
		list = append(list, "owner")
	}
	return strings.Join(list, "; ")
}

// Type is the type of what is there now, or was.
func (c *Change) Type() Type {
	if c.New != nil {
		return c.New.Type
	}
	return c.Old.Type
}

// Bounds on what is believed.
const (
	maxPath   = unix.PathMax - 1
	maxTarget = unix.PathMax - 1
	maxSize   = 1 << 62
)

// errPath is of a path that cannot be one.
var errPath = errors.New("not a path below the directory")

// CheckPath tells whether a path is relative and clean, and names something
// below the directory it is relative to.
func CheckPath(p string) error {
	if p == "" || p == "." || len(p) > maxPath || p[0] == '/' || strings.IndexByte(p, 0) >= 0 || path.Clean(p) != p ||
		p == ".." || strings.HasPrefix(p, "../") {
		return fmt.Errorf("%q: %w", clip(p), errPath)
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > unix.NAME_MAX {
			return fmt.Errorf("%q: %w", clip(p), errPath)
		}
	}
	return nil
}

// clip keeps messages short.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

func (m *Meta) check() error {
	switch m.Type {
	case File, Symlink:
	case Directory, FIFO, Socket, Device:
		if m.Size != 0 {
			return fmt.Errorf("a %s of %d bytes", m.Type, m.Size)
		}
	default:
		return fmt.Errorf("a file of type %q", clip(string(m.Type)))
	}
	if m.Mode > 0o7777 || m.Size < 0 || m.Size > maxSize {
		return fmt.Errorf("mode %o, size %d", m.Mode, m.Size)
	}
	return nil
}

// check tells whether a change makes sense by itself.
func (c *Change) check() error {
	if err := CheckPath(c.Path); err != nil {
		return err
	}
	for _, m := range []*Meta{c.Old, c.New} {
		if m == nil {
			continue
		}
		if err := m.check(); err != nil {
			return err
		}
	}
	ok := false
	switch c.Kind {
	case Added:
		ok = c.Old == nil && c.New != nil
	case Changed:
		ok = c.Old != nil && c.New != nil
	case Deleted:
		ok = c.Old != nil && c.New == nil
	}
	if !ok {
		return fmt.Errorf("%q: a change of kind %q does not look so", clip(c.Path), clip(string(c.Kind)))
	}
	if isLink := c.New != nil && c.New.Type == Symlink; isLink != (c.Target != "") || len(c.Target) > maxTarget || strings.IndexByte(c.Target, 0) >= 0 {
		return fmt.Errorf("%q: a target of %d bytes", clip(c.Path), len(c.Target))
	}
	return nil
}

// Less orders paths as Scan yields them: a directory before what is in it, and
// that before the directory's next sibling.
func Less(a, b string) bool {
	for {
		x, restA, moreA := strings.Cut(a, "/")
		y, restB, moreB := strings.Cut(b, "/")
		if x != y {
			return x < y
		}
		if !moreA || !moreB {
			return !moreA && moreB
		}
		a, b = restA, restB
	}
}

// Below tells whether p is dir or something below it.
func Below(p, dir string) bool {
	return p == dir || len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}
