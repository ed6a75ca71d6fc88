package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/engine"
	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/archive"
)

var dfColumns = []column{{"Type", "TYPE"}, {"TotalCount", "TOTAL"}, {"Active", "ACTIVE"}, {"Size", "SIZE"}, {"Reclaimable", "RECLAIMABLE"}}

func runDF(cmd *cobra.Command, _ []string) error {
	s, store, err := openStores()
	if err != nil {
		return err
	}
	u, err := s.Usage()
	if err != nil {
		return err
	}
	containers, err := containerUsage(cmd, store)
	if err != nil {
		return err
	}
	format, _ := cmd.Flags().GetString("format")
	line := func(kind string, p image.Part) row {
		return row{
			"Type": kind, "TotalCount": strconv.Itoa(p.Count), "Active": strconv.Itoa(p.Active),
			"Size": size(p.Bytes), "Reclaimable": size(p.Reclaimable),
		}
	}
	return printRows(cmd.OutOrStdout(), format, dfColumns, []string{"Type", "TotalCount", "Active", "Size", "Reclaimable"},
		[]row{line("Images", u.Images), line("Blobs", u.Blobs), line("Layers", u.Layers), line("Containers", *containers)})
}

// containerUsage is the space of what containers have kept. Those that run are
// active; the others' is reclaimable.
func containerUsage(cmd *cobra.Command, store *engine.Store) (*image.Part, error) {
	list, err := store.List()
	if err != nil {
		return nil, err
	}
	p := &image.Part{Count: len(list)}
	if len(list) == 0 {
		return p, nil
	}
	u, err := newUnpacker()
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		n, err := u.containerSize(cmd.Context(), c)
		if err != nil {
			return nil, err
		}
		p.Bytes += n
		if c.State() == engine.Running {
			p.Active++
		} else {
			p.Reclaimable += n
		}
	}
	return p, nil
}

// checkContainers finds what killed commands left of containers and, with
// repair, removes it. A record that cannot be read is the user's to decide about:
// what the container kept is still there.
func checkContainers(cmd *cobra.Command, store *engine.Store, repair bool) error {
	if _, err := store.List(); err != nil {
		return err
	}
	left, err := store.Leftovers()
	if err != nil {
		return err
	}
	for _, name := range left {
		fmt.Fprintf(cmd.OutOrStdout(), "left over: container %s\n", safe(name))
	}
	switch {
	case len(left) == 0:
		return nil
	case repair:
		return store.Sweep(cmd.Context())
	}
	return errFound
}

// runUnpack is `brig system unpack`.
func runUnpack(cmd *cobra.Command, args []string) error {
	s, err := openImages()
	if err != nil {
		return err
	}
	keepAs := uint32(image.KeepApart)
	switch userns, _ := cmd.Flags().GetString("userns"); {
	case userns == string(policy.MapKeepID):
		if keepAs, _ = cmd.Flags().GetUint32("uid"); keepAs == 0 || keepAs >= image.KeepApart {
			return fmt.Errorf("--uid %d\n  fix: give an id from 1 to %d; with root as the caller's id images are unpacked when they are loaded", keepAs, image.KeepApart-1)
		}
	case userns != string(policy.MapIsolated):
		return fmt.Errorf("--userns %q\n  fix: use isolated or keep-id", userns)
	case cmd.Flags().Changed("uid"):
		return errors.New("--uid is the caller's id inside, and with --userns isolated there is none\n  fix: add --userns keep-id")
	}
	u, err := newUnpacker()
	if err == nil {
		u, err = u.keeping(cmd.Context(), keepAs)
	}
	if err != nil {
		return err
	}
	for _, ref := range args {
		if err := unpackAgain(cmd.Context(), s, u, ref); err != nil {
			return fmt.Errorf("unpacking %s: %w", ref, err)
		}
	}
	return nil
}

func unpackAgain(ctx context.Context, s *image.Store, u *unpacker, ref string) error {
	e, err := s.Find(ref)
	if err != nil {
		return err
	}
	return archive.Reopen(ctx, s, e.Manifest.Digest, &archive.Options{Unpacker: u, Limits: storedLimits})
}

func runCheck(cmd *cobra.Command, _ []string) error {
	s, store, err := openStores()
	if err != nil {
		return err
	}
	repair, _ := cmd.Flags().GetBool("repair")
	if err := checkContainers(cmd, store, repair); err != nil {
		return err
	}
	f, err := s.Check(cmd.Context())
	if err != nil {
		return err
	}
	printFindings(cmd, f)
	switch {
	case f.OK():
		return nil
	case !repair:
		return errFound
	}
	u, err := newUnpacker()
	if err != nil {
		return err
	}
	closed, err := s.Repair(cmd.Context(), u, f)
	if err != nil {
		return err
	}
	for _, d := range closed {
		if err := archive.Reopen(cmd.Context(), s, d, &archive.Options{Unpacker: u, Limits: storedLimits}); err != nil {
			return fmt.Errorf("unpacking image %s again: %w", d.Short(), err)
		}
	}
	if f, err = s.Check(cmd.Context()); err != nil {
		return err
	}
	if !f.OK() {
		fmt.Fprintln(cmd.OutOrStdout(), "still found after the repair:")
		printFindings(cmd, f)
		return errFound
	}
	fmt.Fprintln(cmd.OutOrStdout(), "repaired")
	return nil
}

func printFindings(cmd *cobra.Command, f *image.Findings) {
	w := cmd.OutOrStdout()
	if f.OK() {
		fmt.Fprintln(w, "the image store is in order")
		return
	}
	if f.Index != "" {
		fmt.Fprintf(w, "index: %s\n", safe(f.Index))
	}
	for _, d := range f.Damaged {
		fmt.Fprintf(w, "damaged: blob %s\n", d)
	}
	for _, d := range slices.Sorted(maps.Keys(f.Broken)) {
		fmt.Fprintf(w, "broken: image %s: %s\n", d.Short(), safe(f.Broken[d]))
	}
	for _, d := range f.NotOpened {
		fmt.Fprintf(w, "not unpacked: image %s\n", d.Short())
	}
	for _, name := range f.Leftovers {
		fmt.Fprintf(w, "left over: %s\n", safe(name))
	}
}
