package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/image"
)

// The values of --pull, which docker and podman have as well.
const (
	pullMissing = "missing"
	pullAlways  = "always"
	pullNever   = "never"
)

// checkPull refuses what --pull cannot mean.
func (f *runFlags) checkPull(name string) error {
	switch {
	case f.pull != pullMissing && f.pull != pullAlways && f.pull != pullNever:
		return fmt.Errorf("--pull %q\n  fix: use %s, %s or %s", f.pull, pullMissing, pullAlways, pullNever)
	case name == "" && f.flags.Changed("pull"):
		return errors.New("--pull is for images, and there is none\n  fix: name one with --image")
	}
	return nil
}

// openImage finds an image in the store. One that is missing is pulled first, as
// --pull has it; where it is there nothing but the store is looked at. A plan
// is printed without doing anything, so that it pulls nothing either.
func (f *runFlags) openImage(spec *sandbox.Spec, store *image.Store, name string) (*image.Image, error) {
	if f.pull == pullAlways && f.plan == "" {
		if err := f.pullImage(spec, name); err != nil {
			return nil, err
		}
	}
	found, err := image.Open(store, name)
	if errors.Is(err, image.ErrNotFound) && f.pull == pullMissing && f.plan == "" {
		if err := f.pullImage(spec, name); err != nil {
			return nil, err
		}
		found, err = image.Open(store, name)
	}
	return found, err
}

// pullImage has the program for images get one.
func (f *runFlags) pullImage(spec *sandbox.Spec, name string) error {
	if _, err := image.ParseName(name); err != nil {
		return err
	}
	args := []string{"pull"}
	if f.level < levelWarn {
		args = append(args, "--quiet")
	}
	return haveImageProgram(spec, "the pull", append(args, "--", name)...)
}

// haveImageProgram runs the program for images. What that has to say about it goes
// to stderr, and its failure is brig's.
func haveImageProgram(spec *sandbox.Spec, what string, args ...string) error {
	// It was cloned for a job that begins at once.
	spec.Child.Discard()
	spec.Child = nil
	path, err := findImageProgram()
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	// The parent-death signal comes when the thread ends that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
	defer signal.Stop(signals)
	child, err := os.StartProcess(path, append([]string{imageProgram}, args...), &os.ProcAttr{
		Files: []*os.File{null, null, os.Stderr},
		// In a group of its own a signal from the terminal reaches it once, by way
		// of brig.
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGTERM},
	})
	if err != nil {
		return fmt.Errorf("executing %s: %w", path, err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = child.Signal(s) // it may just have ended
			case <-done:
				return
			}
		}
	}()
	state, err := child.Wait()
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", path, err)
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &exitError{code: 128 + int(status.Signal()), err: fmt.Errorf("%s was ended by %s", what, unix.SignalName(status.Signal()))}
	}
	if code := state.ExitCode(); code != 0 {
		return &exitError{code: code} // it has said why
	}
	return nil
}
