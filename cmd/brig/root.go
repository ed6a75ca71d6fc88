package main

import (
	"github.com/spf13/cobra"
)

// subcommand is a command that is constructed only when it is needed.
type subcommand struct {
	name  string
	build func() *cobra.Command
}

// subcommands lists every command of brig in the order of the help text.
func subcommands() []subcommand {
	list := []subcommand{
		{"run", newRunCommand},
		{"start", newStartCommand},
		{"policy", newPolicyCommand},
		{"doctor", newDoctorCommand},
		{"version", newVersionCommand},
	}
	list = append(list, imageCommands()...)
	return append(list, docsCommands()...)
}

// newRootCommand builds the command tree for args. When the first argument
// names a subcommand only that one is built: the others would cost each run
// their flags and help texts. Anything else (help, completion, a typing error)
// gets the whole tree.
func newRootCommand(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "brig",
		Short: "Run untrusted jobs in fresh, rootless containers",
		Long: `brig runs untrusted jobs on Linux in fresh, rootless containers: CI jobs,
student submissions, a developer's own risky commands. No daemon and no root
are needed. Every limit is either enforced and proven, or refused.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(suggestFlag)
	all := subcommands()
	if len(args) > 0 {
		for _, sub := range all {
			if sub.name == args[0] {
				root.CompletionOptions.DisableDefaultCmd = true
				root.AddCommand(sub.build())
				return root
			}
		}
	}
	for _, sub := range all {
		root.AddCommand(sub.build())
	}
	return root
}

// runAlone carries out a run whose command line is in order without the command
// tree, which costs more than the flags themselves. Anything else, a question
// for help or a mistake, is left to the tree and its messages.
func runAlone(args []string) (err error, ok bool) {
	if len(args) == 0 || args[0] != "run" {
		return nil, false
	}
	cmd := runCommand(&runFlags{asked: askedBy(args[1:])})
	if cmd.Flags().Parse(args[1:]) != nil {
		return nil, false //nolint:nilerr // the tree will say it
	}
	return cmd.RunE(cmd, cmd.Flags().Args()), true
}
