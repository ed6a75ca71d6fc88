package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/brig-sandbox/brig/policy"
)

// suggestFlag names the flags of a command that one which it does not have may have
// been meant for. It is looked at when parsing has failed.
func suggestFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return err
	}
	typed := unknown.GetSpecifiedName()
	if len(typed) < 3 { // many flags begin with that, or are as near
		return err
	}
	var all, near []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Hidden:
			return
		case strings.HasPrefix(f.Name, typed), strings.HasPrefix(typed, f.Name+"-"):
			near = append(near, "--"+f.Name)
		}
		all = append(all, f.Name)
	})
	if len(near) == 0 {
		if name := policy.Nearest(typed, all); name != "" {
			near = append(near, "--"+name)
		}
	}
	if len(near) == 0 || len(near) > 5 { // a choice of more is none
		return err
	}
	return fmt.Errorf("%w\n  fix: did you mean %s?", err, strings.Join(near, " or "))
}
