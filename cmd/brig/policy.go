package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/policy"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show, check and explain policies",
		Long: `A policy says what a job may use. It is a TOML file, or one of those that ship
with brig. A policy is put together from layers: the shipped one of its name,
/etc/brig/NAME.toml, $XDG_CONFIG_HOME/brig/NAME.toml, then the flags of the
command line. A file that extends a policy takes the place of the layers below
it; any other changes them key by key. Files in the directory of a project are
never read unless they are named: --policy ./NAME.toml.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyListCommand(), newPolicyShowCommand(), newPolicyCheckCommand(),
		newPolicyExplainCommand(), newPolicySchemaCommand(), newPolicySeccompCommand())
	return cmd
}

// policyArgument is the policy named on the command line, or the default.
func policyArgument(args []string) string {
	if len(args) == 0 {
		return "default"
	}
	return args[0]
}

// setFlags turns the values of --set KEY=VALUE into overrides.
func setFlags(values []string) ([]policy.Override, error) {
	var overrides []policy.Override
	for _, value := range values {
		key, setting, ok := strings.Cut(value, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--set %q: it is not KEY=VALUE", value)
		}
		overrides = append(overrides, policy.Override{Key: key, Value: setting, Origin: "--set " + key})
	}
	return overrides, nil
}

// loadForShow loads the policy that show and explain speak of.
func loadForShow(args, set []string) (*policy.Policy, *policy.Origins, error) {
	opts, err := policyOptions(policyArgument(args))
	if err != nil {
		return nil, nil, err
	}
	if opts.Overrides, err = setFlags(set); err != nil {
		return nil, nil, err
	}
	return policy.Load(opts)
}

// printJSON writes indented JSON in which every character that cannot be
// printed is escaped: a policy may be a stranger's, and the output a terminal.
func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	_, err = fmt.Fprintln(w, b.String())
	return err
}
