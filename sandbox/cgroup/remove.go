package cgroup

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// removeTree removes the group's directories: first the leaves. A process that
// has been killed is counted until it is gone, for some milliseconds at most.
func removeTree(parent int, name string, dir int, patience time.Duration) error {
	if err := removeDelegated(dir, patience); err != nil {
		return err
	}
	for _, leaf := range [...]string{initLeaf, jobLeaf} {
		if err := rmdir(dir, leaf, patience); err != nil {
			return err
		}
	}
	return rmdir(parent, name, patience)
}

// rmdirPatience is how long the last process of a group may take to be gone.
const rmdirPatience = 2 * time.Second

func rmdir(parent int, name string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV):
			return nil
		case !errors.Is(err, unix.EBUSY) || time.Now().After(deadline):
			return fmt.Errorf("removing the control group %s: %w", name, err)
		}
		time.Sleep(wait)
	}
}

// removeDelegated removes what a job has made of the group that it was given.
func removeDelegated(dir int, patience time.Duration) error {
	job, err := openGroup(dir, jobLeaf)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(job)
	return removeBelow(job, nsLeaf, patience, maxDepthBelow+1)
}

// removeBelow removes a group with all below it. There are never more, nor
// deeper ones, than the job's leaf allows. Their owner may have shut them, which
// is the caller, or one whom root does not have to ask.
func removeBelow(parent int, name string, patience time.Duration, depth int) error {
	err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
	if err == nil || isGone(err) || errors.Is(err, unix.ENOTDIR) {
		return nil // or a file, which goes with its group
	}
	if depth == 0 {
		return fmt.Errorf("removing the control group %s: %w", name, err)
	}
	_ = unix.Fchmodat(parent, name, 0o755, 0) // the next call tells
	dir, err := openGroup(parent, name)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	names, err := list(dir)
	if isGone(err) {
		return nil // the manager, or another brig that sweeps, was quicker
	}
	if err != nil {
		return err
	}
	for _, below := range names {
		if err := removeBelow(dir, below, patience, depth-1); err != nil {
			return err
		}
	}
	return rmdir(parent, name, patience)
}

func isGone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }
