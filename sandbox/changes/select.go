package changes

import "strings"

// Selected tells whether one of the paths is p or above it. No paths select
// everything.
func Selected(paths []string, p string) bool {
	if len(paths) == 0 {
		return true
	}
	for _, q := range paths {
		if q == "" || Below(p, q) {
			return true
		}
	}
	return false
}

// Unmatched lists the paths that select none of the changes.
func Unmatched(paths []string, list []*Change) []string {
	var left []string
	for _, q := range paths {
		found := false
		for _, c := range list {
			if found = q == "" || Below(c.Path, q); found {
				break
			}
		}
		if !found {
			left = append(left, q)
		}
	}
	return left
}

// RemovesDirectory tells whether a directory goes, with all that is in it.
func (c *Change) RemovesDirectory() bool {
	return c.Old != nil && c.Old.Type == Directory && (c.New == nil || c.New.Type != Directory)
}

// DeletedAbove finds the change with which a directory above p went.
func DeletedAbove(p string, list []*Change) *Change {
	for _, c := range list {
		if c.RemovesDirectory() && !c.Within && strings.HasPrefix(p, c.Path+"/") {
			return c
		}
	}
	return nil
}

// Tops leaves of a list what stands for itself: not what is in a directory that
// was added or deleted, which is counted into it.
type Tops struct {
	top   *Change
	files int64
	bytes int64
}

// Group is a change that stands for itself, with the sum of what is in it.
type Group struct {
	*Change
	Files int64 // other than the directory itself
	Bytes int64
}

// Add takes the next change, and gives the group before it when that is whole.
func (t *Tops) Add(c *Change) *Group {
	if c.Within && t.top != nil && Below(c.Path, t.top.Path) {
		t.files++
		t.bytes += c.Size()
		return nil
	}
	g := t.Last()
	t.top, t.files, t.bytes = c, 0, c.Size()
	return g
}

// Last gives the group that has not been given yet, or nil.
func (t *Tops) Last() *Group {
	if t.top == nil {
		return nil
	}
	g := &Group{Change: t.top, Files: t.files, Bytes: t.bytes}
	t.top = nil
	return g
}

// Size is that of the new file, of a deleted one the old.
func (c *Change) Size() int64 {
	if c.New != nil {
		return c.New.Size
	}
	return c.Old.Size
}
