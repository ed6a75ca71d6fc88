package main

import (
	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/policy"
)

func newPolicySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of policy files, for editors",
		Example: `  brig policy schema > brig-policy.json
  # then, as the first line of a policy: #:schema ./brig-policy.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema, err := policy.Schema()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(schema)
			return err
		},
	}
}
