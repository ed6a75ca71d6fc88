package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// checkReview looks at --review before anything is made. What the job changes is
// kept as a container until the user has decided: however brig ends, it is not
// lost.
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
	if _, err := findImageProgram(); err != nil {
		return err
	}
	f.keep = true
	return nil
}

// reviewChanges has the user decide what becomes of the container that the run
// has left. A job's exit code goes before a decision, brig's failure before both.
func (f *runFlags) reviewChanges(verdict error) error {
	if !f.review || f.kept == nil {
		return verdict
	}
	if _, err := os.Lstat(f.kept.Dir()); err != nil {
		return verdict // it never ran, and left nothing
	}
	path, err := findImageProgram()
	if err == nil {
		err = review(path, f.kept.ID)
	}
	if err != nil {
		err = fmt.Errorf("%w\n  fix: what the command changed is kept as container %s: brig diff, brig apply, brig rm", err, f.kept.Name)
		if said := (*exitError)(nil); errors.As(verdict, &said) && said.err != nil {
			err = errors.Join(said.err, err)
		}
		return &exitError{code: exitFailure, err: err}
	}
	return verdict
}

func review(path, id string) error {
	// What the user interrupts is the question, and brig has to tell how the job
	// ended.
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGINT, unix.SIGQUIT)
	defer signal.Stop(ch)
	p, err := os.StartProcess(path, []string{imageProgram, "review", id}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return fmt.Errorf("executing %s: %w", path, err)
	}
	state, err := p.Wait()
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", path, err)
	}
	if !state.Success() {
		return errors.New("the changes have not been reviewed")
	}
	return nil
}
