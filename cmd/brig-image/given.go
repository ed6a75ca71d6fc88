package main

import (
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/changes"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

// ownership tells what in an overlay of the host's is not the job's doing: what
// was given to the container inside it, mounted or copied, and the directories
// that brig made for that.
type ownership struct {
	given []string          // relative paths
	made  []*changes.Change // directories that lead to one of them, not shown yet
}

// ownershipOf is that of an overlay. In a root the places of what was given are
// shown, as docker diff does it.
func (x *changer) ownershipOf(o *engine.Overlay) *ownership {
	w := &ownership{}
	if o.Kind != engine.CowLayer {
		return w
	}
	prefix := strings.TrimSuffix(o.Target, "/") + "/"
	for _, g := range x.c.Given {
		if rel, ok := strings.CutPrefix(string(g), prefix); ok {
			w.given = append(w.given, rel)
		}
	}
	return w
}

// jobs are the changes to show when the next one is c: c and the new directories
// above it that may have been brig's until it came, or none.
func (w *ownership) jobs(c *changes.Change) []*changes.Change {
	for _, g := range w.given {
		if changes.Below(c.Path, g) {
			return nil
		}
	}
	if c.Kind == changes.Added && c.New.Type == changes.Directory && slices.ContainsFunc(w.given, func(g string) bool { return changes.Below(g, c.Path) }) {
		w.made = append(w.made, c)
		return nil
	}
	list := slices.DeleteFunc(w.made, func(dir *changes.Change) bool { return !changes.Below(c.Path, dir.Path) })
	w.made = nil
	return append(list, c)
}
