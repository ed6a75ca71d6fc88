package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/changes"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

const reviewHelp = `a - apply all of it
c - choose what is applied
p - show the patch
d - discard it
k - keep it, to decide later
? - this help`

// runReview shows what a run has changed in the host's directories, and asks
// until nothing is left to decide about. The container goes then; it stays when
// the user says so, or cannot be asked any more.
func runReview(cmd *cobra.Command, args []string) error {
	x, release, err := openContainer(args[0], engine.Exclusive)
	if err != nil {
		return err
	}
	defer release()
	r := &reviewer{changer: x, cmd: cmd, ask: newAsker(cmd.InOrStdin(), cmd.ErrOrStderr())}
	kept, err := r.review(cmd.Context())
	if cmd.Context().Err() != nil {
		kept, err = true, nil // the user will not be asked now
	}
	if err != nil {
		return err
	}
	if kept {
		fmt.Fprintf(cmd.ErrOrStderr(), "kept as container %s: brig diff, brig apply, brig rm\n", x.c.Name)
		return nil
	}
	return x.c.Remove(context.WithoutCancel(cmd.Context()))
}

type reviewer struct {
	*changer
	cmd *cobra.Command
	ask *asker
}

// review asks until all is decided.
func (r *reviewer) review(ctx context.Context) (kept bool, err error) {
	out := r.cmd.ErrOrStderr()
	list, err := selectPaths(r.c, nil)
	if err != nil {
		return false, err
	}
	cows := list[:0]
	for _, s := range list {
		if s.overlay.Kind == engine.CowLayer {
			cows = append(cows, s)
		}
	}
	for {
		n, err := r.show(ctx, cows)
		if err != nil || n == 0 {
			if n == 0 && err == nil {
				fmt.Fprintln(out, "no changes are left to decide about")
			}
			return false, err
		}
		c, err := r.ask.answer(ctx, "apply all, choose, show the patch, discard, keep", "acpdk", reviewHelp)
		if err != nil {
			return false, err
		}
		switch c {
		case 'a', 'c':
			a := &applier{changer: r.changer, out: out}
			if c == 'c' {
				r.ask.rest = 0
				a.asker = r.ask
			}
			err := a.applyAll(ctx, cows)
			if err != nil && !errors.Is(err, errFound) && !errors.Is(err, errQuit) {
				return false, err
			}
		case 'p':
			w := bufio.NewWriter(out)
			if err := errors.Join(r.printPatches(ctx, w, cows, true), w.Flush()); err != nil {
				return false, err
			}
		case 'd':
			return false, nil
		case 'k', 'q':
			return true, nil
		}
	}
}

// show lists what was changed, and tells how much that is.
func (r *reviewer) show(ctx context.Context, cows []selection) (int, error) {
	out := r.cmd.ErrOrStderr()
	n := 0
	for i := range cows {
		o := &cows[i].overlay
		var tops changes.Tops
		line := func(g *changes.Group) {
			if g != nil {
				n++
				fmt.Fprintln(out, longLine(g, onHost(o, g.Path)))
			}
		}
		err := r.each(ctx, o, ask{What: askScan}, func(c *changes.Change, _ *changes.Decoder) error {
			line(tops.Add(c))
			return nil
		})
		line(tops.Last())
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
