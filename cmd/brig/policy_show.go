package main

import (
	"github.com/spf13/cobra"
)

func newPolicyShowCommand() *cobra.Command {
	var asJSON bool
	var set []string
	cmd := &cobra.Command{
		Use:   "show [NAME|FILE]",
		Short: "Print a policy with everything that it extends filled in",
		Long: `Prints the policy as one TOML file that depends on no other: what it extends is
merged, defaults are filled in, and paths are absolute. Without a name it is
"default".`,
		Example: `  brig policy show judge
  brig policy show ./contest.toml --json
  brig policy show judge --set limits.memory=512MiB > contest.toml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, _, err := loadForShow(args, set)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), p.Tree())
			}
			text, err := p.Encode()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringArrayVar(&set, "set", nil, "change a key: `KEY=VALUE`")
	return cmd
}
