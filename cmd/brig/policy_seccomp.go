package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy/seccomp"
)

// seccompFlags are the flags of `brig policy seccomp`.
type seccompFlags struct {
	json, disassemble, supervised bool
	arch                          string
}

// newPolicySeccompCommand builds `brig policy seccomp`.
func newPolicySeccompCommand() *cobra.Command {
	var f seccompFlags
	cmd := &cobra.Command{
		Use:   "seccomp [flags] [NAME]",
		Short: "Print a policy's system call filter",
		Long: `Print what becomes of every system call under a policy, and which entry of the
policy or of its base decided it. The text is made to be compared with diff.
NAME is a policy's name or a file, "default" if it is left out.`,
		Example: `  brig policy seccomp judge
  brig policy seccomp --json ./mine.toml | jq '.syscalls[] | select(.action == "allow").name'
  diff <(brig policy seccomp default) <(brig policy seccomp strict)
  brig policy seccomp --disassemble --arch arm64 default`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.print(cmd, args)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.BoolVar(&f.disassemble, "disassemble", false, "print the compiled program")
	flags.BoolVar(&f.supervised, "supervised-memory", false, "print the filter of a job whose memory brig sums up itself")
	flags.StringVar(&f.arch, "arch", runtime.GOARCH, "architecture: amd64 or arm64")
	cmd.MarkFlagsMutuallyExclusive("json", "disassemble")
	return cmd
}

// print writes the filter in the form that was asked for.
func (f *seccompFlags) print(cmd *cobra.Command, args []string) error {
	p, _, err := loadForShow(args, nil)
	if err != nil {
		return err
	}
	options := seccomp.Options{SupervisedMemory: f.supervised, Caps: p.User.Capabilities}
	var text []byte
	switch {
	case f.disassemble:
		loader := seccomp.Loader{Shipped: configs.Filter, Cache: seccomp.CacheDir()}
		loaded, err := loader.Load(cmd.Context(), p.Seccomp, options, f.arch)
		if err != nil {
			return err
		}
		if loaded.Program == nil {
			return fmt.Errorf("policy %s has seccomp base %q: there is no program", p.Name, seccomp.BaseNone)
		}
		text = []byte(loaded.Program.Disassemble())
	default:
		profile, err := seccomp.Resolve(p.Seccomp, options, f.arch)
		if err != nil {
			return err
		}
		text = []byte(profile.Text())
		if f.json {
			if text, err = profile.JSON(); err != nil {
				return err
			}
		}
	}
	if _, err := cmd.OutOrStdout().Write(text); err != nil {
		return fmt.Errorf("writing the filter: %w", err)
	}
	return nil
}
