package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/engine"
	"github.com/brig-sandbox/brig/sandbox/image"
)

// checkKeep looks at --keep and --name before anything is made, and makes the
// plan one of a kept run where it is only printed.
func (f *runFlags) checkKeep(spec *sandbox.Spec) error {
	switch {
	case !f.keep && !f.review && f.flags.Changed("name"):
		return errors.New("--name is for containers, and this run keeps none\n  fix: add --keep, or leave --name out")
	case !f.keep && !f.review:
		return nil
	case f.flags.Changed("name"):
		if err := engine.CheckName(f.name); err != nil {
			return fmt.Errorf("--name: %w", err)
		}
	}
	if f.plan != "" {
		dir, err := engine.DefaultDir()
		if err != nil {
			return err
		}
		spec.Keep = &sandbox.Keep{Dir: filepath.Join(dir, "NEW/data")}
	}
	return nil
}

// keepLayers makes the container that the run leaves.
func (f *runFlags) keepLayers(spec *sandbox.Spec, found *image.Image) error {
	c, ref, diffIDs, err := f.newContainer(spec, found)
	if err != nil {
		return err
	}
	if err := c.Describe(spec, ref, diffIDs); err != nil {
		return errors.Join(err, c.Remove(context.Background()))
	}
	c.Keep(spec)
	f.kept = c
	return nil
}

// newContainer makes a container that nobody sees yet, and says what it has of
// its image.
func (f *runFlags) newContainer(spec *sandbox.Spec, found *image.Image) (c *engine.Container, ref *engine.ImageRef, diffIDs []string, err error) {
	store, err := engine.OpenDefault()
	if err != nil {
		return nil, nil, nil, err
	}
	if c, err = store.Create(f.name); err != nil {
		return nil, nil, nil, err
	}
	if found != nil {
		ref = &engine.ImageRef{Ref: imageName(spec.Policy), Manifest: string(found.Digest()), ID: string(found.ID()), Map: found.Map()}
		for _, d := range found.DiffIDs() {
			diffIDs = append(diffIDs, string(d))
		}
	}
	return c, ref, diffIDs, nil
}

// announce tells the name that was made up for a container.
func (f *runFlags) announce(spec *sandbox.Spec, w io.Writer) {
	if f.kept == nil || !f.kept.Fresh() || f.name != "" || f.review || f.level < levelWarn {
		return
	}
	watch := spec.Started
	spec.Started = func(s *sandbox.Sandbox) {
		fmt.Fprintf(w, "brig: container %s\n", f.kept.Name)
		if watch != nil {
			watch(s)
		}
	}
}

// keepEnd records how the run of a container ended. Where brig failed before a
// container's first run has changed anything there is nothing to keep.
func (f *runFlags) keepEnd(result *sandbox.Result, failure error) error {
	c := f.kept
	if c == nil {
		return nil
	}
	if c.Holding() && !c.Held() || failure != nil && c.Fresh() && c.Untouched() {
		c.Let()
		return c.Remove(context.Background())
	}
	if c.Held() {
		return c.Finish(result, failure) // the lock is held until the user has decided
	}
	defer c.Unlock()
	return c.Finish(result, failure)
}
