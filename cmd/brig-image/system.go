package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/archive"
)

var dfColumns = []column{{"Type", "TYPE"}, {"TotalCount", "TOTAL"}, {"Active", "ACTIVE"}, {"Size", "SIZE"}, {"Reclaimable", "RECLAIMABLE"}}

func runDF(cmd *cobra.Command, _ []string) error {
	s, err := image.OpenDefault()
	if err != nil {
		return err
	}
	u, err := s.Usage()
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
		[]row{line("Images", u.Images), line("Blobs", u.Blobs), line("Layers", u.Layers)})
}

func runCheck(cmd *cobra.Command, _ []string) error {
	s, err := image.OpenDefault()
	if err != nil {
		return err
	}
	f, err := s.Check(cmd.Context())
	if err != nil {
		return err
	}
	printFindings(cmd, f)
	repair, _ := cmd.Flags().GetBool("repair")
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
		if err := archive.Reopen(cmd.Context(), s, d, &archive.Options{Unpacker: u}); err != nil {
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
