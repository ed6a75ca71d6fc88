package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/changes"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

// selection is what the PATHs of a command line select in one overlay.
type selection struct {
	overlay engine.Overlay
	paths   []string // relative; "" is everything, as is none at all
}

// selectPaths finds the overlays that paths are in. Without paths all of them
// are selected. The given texts stay in order with what they became.
func selectPaths(c *engine.Container, args []string) ([]selection, error) {
	overlays := c.Overlays()
	list := make([]selection, len(overlays))
	for i := range overlays {
		list[i].overlay = overlays[i]
	}
	if len(args) == 0 {
		return list, nil
	}
	for _, arg := range args {
		i, rel, err := place(overlays, arg)
		if err != nil {
			return nil, err
		}
		list[i].paths = append(list[i].paths, rel)
	}
	kept := list[:0]
	for _, s := range list {
		if len(s.paths) > 0 {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// place finds the overlay that a path is in: the innermost one.
func place(overlays []engine.Overlay, arg string) (int, string, error) {
	of := func(o *engine.Overlay) string { return o.Target }
	p := filepath.Clean(arg)
	where := "no part of it that could have changed is at %s\n  fix: see brig diff without paths"
	if arg == "" || strings.IndexByte(arg, 0) >= 0 {
		return 0, "", fmt.Errorf("%q is no path", arg)
	}
	if !filepath.IsAbs(p) {
		dir, err := os.Getwd()
		if err == nil {
			dir, err = filepath.EvalSymlinks(dir)
		}
		if err != nil {
			return 0, "", fmt.Errorf("finding the current directory: %w", err)
		}
		p = filepath.Join(dir, p)
		of = func(o *engine.Overlay) string {
			if o.Kind != engine.CowLayer {
				return ""
			}
			return o.Source
		}
		where = "%s is in no directory that was given copy-on-write\n  fix: give a path inside the container, which begins with /"
	}
	best, rel := -1, ""
	for i := range overlays {
		top := of(&overlays[i])
		if top == "" || best >= 0 && len(top) < len(of(&overlays[best])) {
			continue
		}
		switch {
		case p == top:
			best, rel = i, ""
		case strings.HasPrefix(p, strings.TrimSuffix(top, "/")+"/"):
			best, rel = i, strings.TrimPrefix(p, strings.TrimSuffix(top, "/")+"/")
		}
	}
	if best < 0 {
		return 0, "", fmt.Errorf(where, safe(p))
	}
	return best, rel, nil
}

// pick leaves of the changes what is selected, and complains of paths that
// select nothing.
func (s *selection) pick(list []*changes.Change) ([]*changes.Change, error) {
	if len(s.paths) == 0 {
		return list, nil
	}
	for _, p := range changes.Unmatched(s.paths, list) {
		if p == "" {
			continue // the overlay itself may have no changes
		}
		if c := changes.DeletedAbove(p, list); c != nil {
			return nil, fmt.Errorf("%s went with %s\n  fix: name the directory", safe(inside(&s.overlay, p)), safe(inside(&s.overlay, c.Path)))
		}
		return nil, fmt.Errorf("nothing changed at %s\n  fix: see brig diff", safe(inside(&s.overlay, p)))
	}
	for _, p := range s.paths {
		if c := changes.DeletedAbove(p, list); c != nil && p != "" {
			return nil, fmt.Errorf("%s went with %s\n  fix: name the directory", safe(inside(&s.overlay, p)), safe(inside(&s.overlay, c.Path)))
		}
	}
	var picked []*changes.Change
	for _, c := range list {
		if changes.Selected(s.paths, c.Path) {
			picked = append(picked, c)
		}
	}
	return picked, nil
}
