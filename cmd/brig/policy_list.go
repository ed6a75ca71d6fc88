package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
)

func newPolicyListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the policies that can be named",
		Example: `  brig policy list
  brig policy list --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := policyOptions("")
			if err != nil {
				return err
			}
			list, err := policy.List(opts)
			if err != nil {
				return fmt.Errorf("list of policies: %w", err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "NAME\tWHERE\tDESCRIPTION")
			for _, entry := range list {
				description := entry.Description
				if entry.Err != nil {
					description = fmt.Sprintf("cannot be loaded; see brig policy check %s", entry.Where[len(entry.Where)-1])
				}
				fmt.Fprintf(table, "%s\t%s\t%s\n", entry.Name,
					sandbox.SafeText(strings.Join(entry.Where, ", ")), sandbox.SafeText(description))
			}
			return table.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
