package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/changes"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

func runDiscard(cmd *cobra.Command, args []string) error {
	x, release, err := openContainer(args[0], engine.Exclusive)
	if err != nil {
		return err
	}
	defer release()
	list, err := selectPaths(x.c, args[1:])
	if err != nil {
		return err
	}
	dry, _ := cmd.Flags().GetBool("dry-run")
	return x.discard(cmd.Context(), cmd.OutOrStdout(), list, dry)
}

// discard takes back what is selected. What cannot be listed can still be thrown
// away as a whole.
func (x *changer) discard(ctx context.Context, out io.Writer, list []selection, dry bool) error {
	for i := range list {
		s := &list[i]
		o := &s.overlay
		if !hasRun(o) {
			continue
		}
		if !dry && changes.Pending(x.journalFile(o)) {
			if err := x.settle(ctx, o, false); err != nil {
				return err
			}
		}
		if len(s.paths) == 0 && !dry {
			if err := x.do(ctx, o, askClear, nil); err != nil {
				return err
			}
			fmt.Fprintf(out, "all changes in %s are discarded\n", safe(o.Target))
			continue
		}
		var found []*changes.Change
		err := x.each(ctx, o, ask{What: askScan}, func(c *changes.Change, _ *changes.Decoder) error {
			if len(found) >= maxChanges {
				return errTooManyChanges
			}
			found = append(found, c)
			return nil
		})
		if err == nil {
			found, err = s.pick(found)
		}
		if err != nil {
			return err
		}
		var paths []string
		for _, g := range groups(found) {
			paths = append(paths, g.Path)
			fmt.Fprintf(out, "%s %s\n", g.Kind, safe(inside(o, g.Path)))
		}
		if len(paths) == 0 || dry {
			continue
		}
		if err := x.do(ctx, o, askDiscard, paths); err != nil {
			return err
		}
	}
	return nil
}
