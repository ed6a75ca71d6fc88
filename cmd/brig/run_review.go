package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/engine"
	"github.com/brig-sandbox/brig/sandbox/image"
)

// checkReview looks at --review before anything is made.
func (f *runFlags) checkReview() error {
	switch {
	case !f.review:
		return nil
	case f.keep:
		return errors.New("--review with --keep: the container is kept anyway\n  fix: leave --review out, and see brig diff and brig apply -i")
	case f.plan != "":
		return errors.New("--review with --plan: nothing runs, and nothing is changed\n  fix: leave one of them out")
	case !isTerminal(os.Stdin) || !isTerminal(os.Stderr):
		return errors.New("--review asks when the command has ended, and standard input or error is no terminal\n  fix: use --keep, and then brig diff and brig apply")
	}
	_, err := findImageProgram()
	return err
}

// holdLayers has what the job changes stay in memory for the user to decide
// about, or in a container where the kernel cannot have it there.
func (f *runFlags) holdLayers(spec *sandbox.Spec, found *image.Image) error {
	c, ref, diffIDs, err := f.newContainer(spec, found)
	if err != nil {
		return err
	}
	if err := c.Hold(spec, ref, diffIDs); err != nil {
		return errors.Join(err, c.Remove(context.Background()))
	}
	f.kept = c
	return nil
}

// reviewChanges has the user decide what becomes of what the run has changed. A
// job's exit code goes before a decision, brig's failure before both.
func (f *runFlags) reviewChanges(verdict error) error {
	if !f.review || f.kept == nil {
		return verdict
	}
	if _, err := os.Lstat(f.kept.Dir()); err != nil {
		return verdict // it never ran, and left nothing
	}
	var err error
	if f.kept.Held() {
		err = reviewHeld(f.kept)
	} else {
		err = reviewKept(f.kept)
	}
	if err != nil {
		if said := (*exitError)(nil); errors.As(verdict, &said) && said.err != nil {
			err = errors.Join(said.err, err)
		}
		return &exitError{code: exitFailure, err: err}
	}
	return verdict
}

// reviewKept asks about a container that is there whatever happens.
func reviewKept(c *engine.Container) error {
	path, err := findImageProgram()
	if err == nil {
		err = review(path, nil, c.ID)
	}
	if err != nil {
		return keptAs(err, c)
	}
	return nil
}

func keptAs(err error, c *engine.Container) error {
	return fmt.Errorf("%w\n  fix: what the command changed is kept as container %s: brig diff, brig apply, brig rm", err, c.Short())
}

// reviewHeld asks about changes that are gone with the last process that has
// them. The one that asks keeps them where it is not answered; where it fails, it
// is asked to do so once more.
func reviewHeld(c *engine.Container) error {
	defer c.Unlock()
	defer c.Let()
	if same, err := c.Unchanged(); err == nil && same {
		fmt.Fprintln(os.Stderr, "no changes are left to decide about")
		return c.Remove(context.Background())
	}
	path, err := findImageProgram()
	if err == nil {
		err = c.WriteHeld()
	}
	if err != nil {
		return fmt.Errorf("%w\n  fix: what the command changed is gone: see to that, and run it again", err)
	}
	lock, scratch := c.HeldFiles()
	files := []*os.File{lock, scratch}
	if err = review(path, files, "--held", c.ID); err == nil {
		return nil
	}
	undecided := func() bool { _, err := os.Lstat(c.Dir()); return err == nil }
	if undecided() {
		_ = review(path, files, "--held", "--keep", c.ID) // it says itself what it cannot do
	}
	if undecided() {
		return fmt.Errorf("%w\n  fix: what the command changed is gone: see to that, and run it again", err)
	}
	return keptAs(err, c)
}

// review runs the program that asks, which finds the files from descriptor 3 on.
func review(path string, files []*os.File, args ...string) error {
	// What the user interrupts is the question, and brig has to tell how the job
	// ended. Asked to end itself it asks the other program, which sees a terminal
	// that is gone by itself.
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTERM)
	defer signal.Stop(ch)
	p, err := os.StartProcess(path, append([]string{imageProgram, "review"}, args...),
		&os.ProcAttr{Files: append([]*os.File{os.Stdin, os.Stdout, os.Stderr}, files...)})
	if err != nil {
		return fmt.Errorf("executing %s: %w", path, err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-ch:
				if s == unix.SIGTERM {
					_ = p.Signal(s) // one that has ended needs none
				}
			case <-done:
				return
			}
		}
	}()
	state, err := p.Wait()
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", path, err)
	}
	if !state.Success() {
		return errors.New("the changes have not been reviewed")
	}
	return nil
}
