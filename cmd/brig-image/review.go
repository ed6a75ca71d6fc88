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
k - keep it as a container, to decide later
? - this help`

// runReview shows what a run has changed in the host's directories, and asks
// until nothing is left to decide about. What is kept is a container; it is one
// when the user says so, or cannot be asked any more.
func runReview(cmd *cobra.Command, args []string) error {
	held, _ := cmd.Flags().GetBool("held")
	keep, _ := cmd.Flags().GetBool("keep")
	open := openHeld
	if !held {
		open = func(id string) (*changer, func(), error) { return openContainer(id, engine.Exclusive) }
	}
	x, release, err := open(args[0])
	if err != nil {
		return err
	}
	defer release()
	r := &reviewer{changer: x, cmd: cmd, held: held}
	if !keep {
		r.ask = newAsker(cmd.InOrStdin(), cmd.ErrOrStderr())
		keep, err = r.review(cmd.Context())
		if errors.Is(err, errKept) {
			return nil
		}
		if cmd.Context().Err() != nil {
			keep, err = true, nil // the user will not be asked now
		}
	}
	if keep || held && err != nil {
		return errors.Join(err, r.keep(context.WithoutCancel(cmd.Context())))
	}
	if err != nil {
		return err
	}
	return x.c.Remove(context.WithoutCancel(cmd.Context()))
}

// keep makes what is held a container, unless it is one, and says so.
func (r *reviewer) keep(ctx context.Context) error {
	if r.held {
		if err := r.store(ctx); err != nil {
			return fmt.Errorf("what the command changed cannot be kept: %w", err)
		}
		r.held = false
	}
	fmt.Fprintf(r.cmd.ErrOrStderr(), "kept as container %s: brig diff, brig apply, brig rm\n", r.c.Name)
	return nil
}

// errKept is of changes that the user has had kept.
var errKept = errors.New("kept")

type reviewer struct {
	*changer
	cmd  *cobra.Command
	ask  *asker
	held bool
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
		case 'k':
			// Where it cannot be, the user still can decide otherwise.
			if err := r.keep(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintf(out, "%s\n", safe(err.Error()))
				continue
			}
			return true, errKept
		case 'q':
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
