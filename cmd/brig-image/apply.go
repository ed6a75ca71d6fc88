package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/changes"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

func runApply(cmd *cobra.Command, args []string) error {
	flag := func(name string) bool { on, _ := cmd.Flags().GetBool(name); return on }
	a := &applier{out: cmd.OutOrStdout(), dry: flag("dry-run"), force: flag("force")}
	if flag("interactive") {
		if !onTerminal(cmd.InOrStdin()) || !onTerminal(a.out) {
			return errors.New("--interactive asks, and standard input or output is no terminal\n  fix: name the paths to be applied")
		}
		a.asker = newAsker(cmd.InOrStdin(), a.out)
	}
	var release func()
	var err error
	if a.changer, release, err = openContainer(args[0], engine.Exclusive); err != nil {
		return err
	}
	defer release()
	list, err := selectPaths(a.c, args[1:])
	if err != nil {
		return err
	}
	err = a.applyAll(cmd.Context(), list)
	if errors.Is(err, errQuit) {
		fmt.Fprintln(a.out, err)
		return nil
	}
	return err
}

// applier brings changes of one container to the host.
type applier struct {
	*changer
	out        io.Writer
	dry, force bool
	asker      *asker // nil: nobody is asked

	applied, conflicts, refused, left int
}

// applyAll applies what is selected, and says how it went.
func (a *applier) applyAll(ctx context.Context, list []selection) error {
	some := false
	for i := range list {
		s := &list[i]
		if s.overlay.Kind != engine.CowLayer {
			if len(s.paths) > 0 {
				return fmt.Errorf("%s is in the container's own root file system, and the host has no place for it\n  fix: name paths in directories that were given copy-on-write", safe(inside(&s.overlay, s.paths[0])))
			}
			continue
		}
		some = true
		if err := a.overlay(ctx, s); err != nil {
			return err
		}
	}
	if !some {
		return fmt.Errorf("container %s was given no directory copy-on-write, so that there is nothing to apply", a.c.Name)
	}
	verb := "applied"
	if a.dry {
		verb = "would be applied"
	}
	fmt.Fprintf(a.out, "%d %s, %d in conflict, %d refused\n", a.applied, verb, a.conflicts, a.refused)
	if a.conflicts > 0 && !a.dry {
		fmt.Fprintln(a.out, "the host's own changes are as they were; --force replaces them, brig diff --patch shows the job's")
	}
	if a.conflicts+a.refused > 0 {
		return errFound
	}
	return nil
}

// journalFile is where the application of an overlay's changes is recorded.
func (x *changer) journalFile(o *engine.Overlay) string {
	return filepath.Join(x.c.Dir(), fmt.Sprintf("apply%d.journal", o.Number))
}

// overlay applies what is selected of one overlay.
func (a *applier) overlay(ctx context.Context, s *selection) error {
	o := &s.overlay
	if _, err := os.Lstat(o.Upper); errors.Is(err, os.ErrNotExist) {
		return nil // it has never run
	}
	if changes.Pending(a.journalFile(o)) {
		if a.dry {
			fmt.Fprintf(a.out, "an interrupted apply to %s would be ended first\n", safe(o.Source))
		} else if err := a.settle(ctx, o, a.force); err != nil {
			return err
		}
	}
	var list []*changes.Change
	err := a.each(ctx, o, ask{What: askScan}, func(c *changes.Change, _ *changes.Decoder) error {
		if len(list) >= maxChanges {
			return errTooManyChanges
		}
		list = append(list, c)
		return nil
	})
	if err != nil {
		return err
	}
	picked, err := s.pick(list)
	if err != nil || len(picked) == 0 {
		return err
	}
	target, base, err := a.target(o, a.force)
	if err != nil {
		return err
	}
	defer target.Close()
	if a.asker != nil {
		if picked, err = a.choose(ctx, o, target, picked); err != nil {
			return err
		}
	}
	picked = withDirectories(picked, list)
	if a.dry {
		for _, c := range picked {
			if err := a.report(o, c, target.Check(c)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(picked) == 0 {
		return nil
	}
	if err := target.Begin(a.journalFile(o)); err != nil {
		return err
	}
	if err = a.bring(ctx, o, target, picked); err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w\n  fix: see to that, and run brig apply again; what has been applied stays so", err)
	}
	return errors.Join(err, a.finish(context.WithoutCancel(ctx), o, target, base))
}

// withDirectories makes the list of what is applied: with the new directories
// that something in it is in, without what goes with its directory.
func withDirectories(picked, list []*changes.Change) []*changes.Change {
	chosen, needed := map[string]bool{}, map[string]bool{}
	for _, c := range picked {
		chosen[c.Path] = true
		for dir := filepath.Dir(c.Path); dir != "." && !needed[dir]; dir = filepath.Dir(dir) {
			needed[dir] = true
		}
	}
	var out []*changes.Change
	for _, c := range list {
		made := c.New != nil && c.New.Type == changes.Directory && (c.Old == nil || c.Old.Type != changes.Directory)
		if (chosen[c.Path] || made && needed[c.Path]) && (c.Kind != changes.Deleted || !c.Within) {
			out = append(out, c)
		}
	}
	return out
}

// target opens the host's directory with what it held at the start.
func (x *changer) target(o *engine.Overlay, force bool) (*changes.Target, *changes.Base, error) {
	names, complete, err := engine.ReadBase(o.Base, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("what %s held when the job first ran is not known: %w", safe(o.Source), err)
	}
	base := &changes.Base{Names: make(map[string]changes.Was, len(names)), Complete: complete}
	for p, st := range names {
		base.Names[p] = changes.Was(st)
	}
	t, err := changes.OpenTarget(o.Source, base, force)
	if err != nil {
		return nil, nil, err
	}
	return t, base, nil
}

// bring applies a list.
func (a *applier) bring(ctx context.Context, o *engine.Overlay, target *changes.Target, list []*changes.Change) error {
	q := ask{What: askFetch}
	for _, c := range list {
		if c.New != nil && c.New.Type == changes.File {
			q.Paths = append(q.Paths, []byte(c.Path))
		}
	}
	each := func(d *changes.Decoder) error {
		for _, c := range list {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if c.New != nil && c.New.Type == changes.File {
				n, err := d.Next()
				if err == nil && (n.Path != c.Path || n.New == nil || *n.New != *c.New) {
					err = fmt.Errorf("%w: %q came in the place of %q", changes.ErrStream, n.Path, c.Path)
				}
				if err != nil {
					return err
				}
			}
			err := target.Apply(c, func(f *os.File) error { return d.WriteContent(f, c.New.Size) })
			if err := a.report(o, c, err); err != nil {
				return err
			}
		}
		return nil
	}
	if len(q.Paths) == 0 {
		return each(nil)
	}
	return a.ask(ctx, o, q, func(d *changes.Decoder) error {
		if err := each(d); err != nil {
			return err
		}
		if _, err := d.Next(); !errors.Is(err, io.EOF) {
			return errors.Join(changes.ErrStream, err)
		}
		return nil
	})
}

// report says what became of a change. What concerns it alone is counted, other
// errors are given back.
func (a *applier) report(o *engine.Overlay, c *changes.Change, err error) error {
	conflict, refused := (*changes.Conflict)(nil), (*changes.Refused)(nil)
	switch {
	case errors.As(err, &conflict):
		a.conflicts++
		fmt.Fprintf(a.out, "conflict: %s %s\n", safe(onHost(o, conflict.Path)), safe(conflict.Why))
	case errors.As(err, &refused):
		a.refused++
		fmt.Fprintf(a.out, "refused: %s %s\n", safe(onHost(o, refused.Path)), safe(refused.Why))
	case err != nil:
		return fmt.Errorf("applying to %s: %w", o.Source, err)
	default:
		a.applied++
		fmt.Fprintln(a.out, hostLine(o, c))
	}
	return nil
}

// hostLine is a change as it is told of on the host.
func hostLine(o *engine.Overlay, c *changes.Change) string {
	line := string(c.Kind) + " " + safe(onHost(o, c.Path))
	if c.Target != "" {
		line += " -> " + safe(c.Target)
	}
	if c.RemovesDirectory() && c.New != nil {
		line += "  (" + c.What() + ", which goes with all in it)"
	}
	if changes.Leaves(c) {
		line += "  (leads out of the directory)"
	}
	return line
}

// finish writes down what was applied: the host's files are what the job saw now,
// and its layer need not have them any more.
func (x *changer) finish(ctx context.Context, o *engine.Overlay, target *changes.Target, base *changes.Base) error {
	if err := target.Finish(); err != nil {
		return err
	}
	if done := slices.Sorted(maps.Keys(target.Done())); len(done) > 0 {
		names := make(map[string]engine.Stat, len(base.Names))
		for p, was := range base.Names {
			names[p] = engine.Stat(was)
		}
		if err := engine.ReplaceBase(o.Base, names, base.Complete); err != nil {
			return err
		}
		if err := x.do(ctx, o, askSettle, done); err != nil {
			return err
		}
	}
	if err := os.Remove(x.journalFile(o)); err != nil {
		return fmt.Errorf("ending the journal: %w", err)
	}
	return nil
}

// settle ends an application that was interrupted.
func (x *changer) settle(ctx context.Context, o *engine.Overlay, force bool) error {
	target, base, err := x.target(o, force)
	if err != nil {
		return err
	}
	defer target.Close()
	if err := target.Begin(x.journalFile(o)); err != nil {
		return err
	}
	return x.finish(context.WithoutCancel(ctx), o, target, base)
}

// group is a change that stands for itself, with what is in it.
type group struct {
	changes.Group
	all []*changes.Change
}

// groups puts changes that belong together together.
func groups(list []*changes.Change) []group {
	var out []group
	var tops changes.Tops
	var all []*changes.Change
	add := func(g *changes.Group) {
		if g != nil {
			out = append(out, group{*g, all})
			all = nil
		}
	}
	for _, c := range list {
		add(tops.Add(c))
		all = append(all, c)
	}
	add(tops.Last())
	return out
}

// choose asks for each group.
func (a *applier) choose(ctx context.Context, o *engine.Overlay, target *changes.Target, list []*changes.Change) ([]*changes.Change, error) {
	var picked []*changes.Change
	for _, g := range groups(list) {
		fmt.Fprintln(a.out, longLine(&g.Group, onHost(o, g.Path)))
		if changes.Leaves(g.Change) {
			fmt.Fprintln(a.out, "  it leads out of the directory")
		}
		conflict := (*changes.Conflict)(nil)
		if err := target.Check(g.Change); errors.As(err, &conflict) {
			fmt.Fprintf(a.out, "  conflict: %s %s\n", safe(onHost(o, conflict.Path)), safe(conflict.Why))
		}
		yes, err := a.asker.yes(ctx, "apply it", func() error { return a.showPatch(ctx, a.out, o, g.Path) })
		if err != nil {
			return nil, err
		}
		if yes {
			picked = append(picked, g.all...)
		} else {
			a.left++
		}
	}
	return picked, nil
}

// showPatch prints the patch of a path, fit for a terminal.
func (x *changer) showPatch(ctx context.Context, w io.Writer, o *engine.Overlay, p string) error {
	out := bufio.NewWriter(w)
	s := []selection{{overlay: *o, paths: []string{p}}}
	return errors.Join(x.printPatches(ctx, out, s, true), out.Flush())
}
