package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/engine"
	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/archive"
	"github.com/brig-sandbox/brig/sandbox/image/layer"
)

// commitDepth is how deep a committed layer may be: as deep as one is packed.
const commitDepth = 256

// anyRatio stands for no bound on how well a layer compresses: brig has
// compressed it itself, and a file of holes compresses very well.
const anyRatio = 1 << 40

// storedLimits are those of layers that the store has: they were within limits of
// the caller's when they came, and have not changed since.
var storedLimits = image.Limits{Bytes: 1 << 50, Files: 1 << 38, Depth: commitDepth, Ratio: anyRatio}

func runCommit(cmd *cobra.Command, args []string) error {
	var names []image.Name
	if len(args) == 2 {
		n, err := image.ParseName(args[1])
		if err != nil {
			return err
		}
		if n.Digest != "" {
			return fmt.Errorf("%s: a digest cannot be given: it follows from the image", args[1])
		}
		names = append(names, n)
	}
	changes, _ := cmd.Flags().GetStringArray("change")
	in := &archive.CommitOptions{Created: time.Now(), Change: func(c *image.Config) error {
		for _, line := range changes {
			if err := change(c, line); err != nil {
				return fmt.Errorf("--change %q: %w", line, err)
			}
		}
		return nil
	}}
	if err := in.Change(&image.Config{}); err != nil { // before anything is packed
		return err
	}
	in.Message, _ = cmd.Flags().GetString("message")
	in.Author, _ = cmd.Flags().GetString("author")
	s, containers, err := openStores()
	if err != nil {
		return err
	}
	c, err := containers.Find(args[0])
	if err != nil {
		return err
	}
	release, err := c.Lock(engine.Shared)
	if err != nil {
		return err
	}
	defer release()
	root, ok := rootOverlay(c)
	switch {
	case !ok:
		return fmt.Errorf("container %s has no layer of its own for its root (%s)\n  fix: commit one that was made with --image and without --read-only; brig diff shows what directories have", c.Name, safe(c.Root))
	case c.Image == nil:
		return fmt.Errorf("container %s was made of %s, and not of an image\n  fix: brig export %s | brig import - NAME", c.Name, safe(c.Root), c.Name)
	}
	in.Base, in.CreatedBy = image.Digest(c.Image.Manifest), strings.Join(engine.Strings(c.Job.Args), " ")
	base, err := image.OpenDigest(s, in.Base, c.Image.Map)
	if err != nil {
		return err
	}
	letGo, err := base.Hold()
	if err != nil {
		return err
	}
	defer letGo()
	u, err := newUnpacker()
	if err != nil {
		return err
	}
	o := commitOptions(cmd, u)
	p := containerPacking(c, root)
	p.opts.Changes = true
	l, err := archive.Commit(cmd.Context(), s, func(w io.Writer) error { return packTo(cmd, u, w, p, o.Note) }, names, in, o)
	if err != nil {
		return fmt.Errorf("committing container %s: %w", c.Name, err)
	}
	fmt.Fprintln(cmd.OutOrStdout(), l.ID)
	return nil
}

// commitOptions are those with which a committed layer is unpacked.
func commitOptions(cmd *cobra.Command, u *unpacker) *archive.Options {
	o := &archive.Options{Unpacker: u, Limits: image.Limits{Depth: commitDepth, Ratio: anyRatio}}
	if quiet, _ := cmd.Flags().GetBool("quiet"); !quiet {
		o.Note = func(note string) { fmt.Fprintf(cmd.ErrOrStderr(), "brig: note: %s\n", safe(note)) }
	}
	return o
}

// containerPacking is the root of a container as it is packed. With one id all
// files are the caller's, and of the image's root.
func containerPacking(c *engine.Container, root engine.Overlay) *packing {
	p := &packing{
		layers: append(root.Lower, root.Upper), kind: policy.UserMap(c.IDs.Map), ids: &c.IDs,
		opts: layer.PackOptions{Upper: true, Own: c.Own, Given: engine.Strings(c.Given), Squash: c.IDs.Map == string(policy.MapSingle)},
	}
	if c.IDs.Map != string(policy.MapIsolated) {
		p.uid, p.gid = insideOf(c.IDs.UID, c.IDs.CloneUID), insideOf(c.IDs.GID, c.IDs.CloneGID)
	}
	return p
}

// packTo packs, and tells what was left out.
func packTo(cmd *cobra.Command, u *unpacker, w io.Writer, p *packing, note func(string)) error {
	report, err := u.pack(cmd.Context(), w, p)
	if err != nil {
		return err
	}
	if report == nil {
		return errors.New("the sandboxed part of brig said nothing about the archive")
	}
	for _, n := range report.Notes {
		if note != nil {
			note(n)
		}
	}
	return nil
}

func runExport(cmd *cobra.Command, args []string) error {
	s, containers, err := openStores()
	if err != nil {
		return err
	}
	u, err := newUnpacker()
	if err != nil {
		return err
	}
	p, release, err := exported(s, containers, args[0])
	if err != nil {
		return err
	}
	defer release()
	note := func(n string) { fmt.Fprintf(cmd.ErrOrStderr(), "brig: note: %s\n", safe(n)) }
	write := func(w io.Writer) error {
		if err := packTo(cmd, u, w, p, note); err != nil {
			return fmt.Errorf("exporting %s: %w", args[0], err)
		}
		return nil
	}
	name, _ := cmd.Flags().GetString("output")
	if name != "-" {
		return saveFile(name, write)
	}
	if isTerminal(os.Stdout) {
		return fmt.Errorf("standard output is a terminal\n  fix: name a file with -o, or redirect one here")
	}
	return write(os.Stdout)
}

// exported finds the container or, where there is none, the image to export.
func exported(s *image.Store, containers *engine.Store, ref string) (*packing, func(), error) {
	c, err := containers.Find(ref)
	if err == nil {
		release, err := c.Lock(engine.Shared)
		if err != nil {
			return nil, nil, err
		}
		root, ok := rootOverlay(c)
		if !ok {
			release()
			return nil, nil, fmt.Errorf("container %s has no root file system of its own: its root is %s\n  fix: brig diff and brig apply are for its directories", c.Name, safe(c.Root))
		}
		return containerPacking(c, root), release, nil
	}
	if !errors.Is(err, engine.ErrNotFound) {
		return nil, nil, err
	}
	found, ierr := image.Open(s, ref)
	if errors.Is(ierr, image.ErrNotFound) {
		return nil, nil, fmt.Errorf("no such container, and %w", ierr)
	}
	if ierr != nil {
		return nil, nil, ierr
	}
	release, err := found.Hold()
	if err != nil {
		return nil, nil, err
	}
	p := &packing{layers: found.Layers(), kind: policy.MapAuto}
	if found.Map() == image.Single {
		p.kind, p.opts.Squash = policy.MapSingle, true
	}
	return p, release, nil
}
