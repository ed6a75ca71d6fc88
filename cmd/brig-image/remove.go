package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/image"
)

func runRmi(cmd *cobra.Command, args []string) error {
	s, err := openImages()
	if err != nil {
		return err
	}
	u, err := newUnpacker()
	if err != nil {
		return err
	}
	force, _ := cmd.Flags().GetBool("force")
	var errs []error
	for _, ref := range args {
		r, err := s.Remove(cmd.Context(), u, ref, force)
		if r != nil {
			printRemoved(cmd, r)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func printRemoved(cmd *cobra.Command, r *image.Removed) {
	for _, n := range r.Untagged {
		fmt.Fprintf(cmd.OutOrStdout(), "Untagged: %s\n", n.Familiar())
	}
	for _, d := range r.Deleted {
		fmt.Fprintf(cmd.OutOrStdout(), "Deleted: %s\n", d)
	}
}

func runPrune(cmd *cobra.Command, _ []string) error {
	s, containers, err := openStores()
	if err != nil {
		return err
	}
	if also, _ := cmd.Flags().GetBool("containers"); also {
		if err := pruneContainers(cmd, containers); err != nil {
			return err
		}
	} else {
		warnSweep(cmd.Context(), containers)
	}
	u, err := newUnpacker()
	if err != nil {
		return err
	}
	all, _ := cmd.Flags().GetBool("all")
	r, err := s.Prune(cmd.Context(), u, all, nil)
	if r != nil {
		printRemoved(cmd, r)
		fmt.Fprintf(cmd.OutOrStdout(), "Total reclaimed space: %s\n", size(r.Bytes))
	}
	return err
}
