package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox"
)

func newPolicyExplainCommand() *cobra.Command {
	var asJSON bool
	var set []string
	cmd := &cobra.Command{
		Use:   "explain [NAME|FILE]",
		Short: "Print every value of a policy and where it was set",
		Example: `  brig policy explain
  brig policy explain judge --set limits.memory=512MiB
  brig policy explain ./contest.toml --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, origins, err := loadForShow(args, set)
			if err != nil {
				return err
			}
			settings := p.Explain(origins)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), settings)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "KEY\tVALUE\tSET BY")
			for _, s := range settings {
				fmt.Fprintf(table, "%s\t%s\t%s\n", sandbox.SafeText(s.Key), s.Value, s.Origin)
			}
			return table.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringArrayVar(&set, "set", nil, "change a key: `KEY=VALUE`")
	return cmd
}
