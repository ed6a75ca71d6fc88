package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

const doctorLong = `Try every mechanism that brig rests on, and say what works, what is replaced by
something weaker, and what is missing, with the cause and the fix.

The mechanisms are tried in sandboxes of their own, and the default policy by
running a command that does nothing under it, in an empty directory. Nothing is
changed on the host; what differs from what brig presumes is kept in its cache
directory, so that later runs know it.

--json prints the facts about the host, from which plans can be made elsewhere.
--fix-script prints a shell script with what an administrator can do about what
is missing, each part with its reason: read it, then run it as root.

The exit code is 0 when the default policy runs here, 1 when it does not, and
125 when brig could not find out. With --fix-script it is 0 when there is a
script, also one that has nothing to do.`

// exitUnfit is the exit code of a host on which the default policy does not run.
const exitUnfit = 1

// doctorTimeout ends a doctor that waits for a host that does not answer.
const doctorTimeout = 30 * time.Second

func newDoctorCommand() *cobra.Command {
	var asJSON, verbose, script bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what works on this host, and how to mend what does not",
		Long:  doctorLong,
		Example: `  brig doctor
  brig doctor --verbose
  brig doctor --json > host.json
  brig doctor --fix-script > fix.sh`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
			defer cancel()
			d, err := examine(ctx)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if script {
				facts, err := readFixFacts(d.host)
				if err != nil {
					return err
				}
				_, err = io.WriteString(out, writeFixScript(d.host, facts))
				return err
			}
			if asJSON {
				text, err := probe.Encode(d.host)
				if err != nil {
					return err
				}
				if _, err := out.Write(text); err != nil {
					return err
				}
			} else if err := d.print(out, verbose); err != nil {
				return err
			}
			if d.defaultRuns != nil {
				return &exitError{code: exitUnfit}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the facts as JSON")
	cmd.Flags().BoolVar(&script, "fix-script", false, "print a shell script that mends what is missing")
	cmd.MarkFlagsMutuallyExclusive("json", "fix-script")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "print details of what works too")
	return cmd
}

// diagnosis is what the doctor has found out.
type diagnosis struct {
	host *probe.Host
	// policies are the shipped and own ones, with why each cannot run.
	policies []policyVerdict
	// defaultRuns is nil when a command ran under the default policy.
	defaultRuns error
	// limits are held by these mechanisms.
	limits []sandbox.LimitPlan
	// limitsProblem says why the mechanisms of limits are not known.
	limitsProblem error
}

// policyVerdict says whether a policy can be carried out on this host.
type policyVerdict struct {
	name string
	err  error
}

// limitsPolicy is the shipped policy that limits everything there is to limit.
const limitsPolicy = "judge"

// examine tries everything. Policies are resolved in a directory that nobody
// can object to, since the question is what the host can do.
func examine(ctx context.Context) (*diagnosis, error) {
	dir, err := os.MkdirTemp("", "brig-doctor-")
	if err != nil {
		return nil, fmt.Errorf("making a directory to try policies in: %w\n  fix: set TMPDIR to a directory that can be written", err)
	}
	defer func() { _ = os.Remove(dir) }() // empty, and in the temporary directory
	opts, err := policyOptions("")
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	// The names are known without the caller's own files, which may be broken.
	var specs []*sandbox.Spec
	d := &diagnosis{}
	question := probe.Question{SubIDs: true, Mounts: true}
	for _, name := range policy.ShippedNames(opts.Shipped) {
		opts.Name = name
		p, _, err := policy.Load(opts)
		d.policies = append(d.policies, policyVerdict{name, err})
		var spec *sandbox.Spec
		if err == nil {
			spec = sandbox.NewSpec(p, "true")
			spec.Dir, spec.Filter = dir, configs.Filter
			question.Paths = append(question.Paths, spec.Question().Paths...)
		}
		specs = append(specs, spec)
	}
	if d.host, err = probe.Try(ctx, question); err != nil {
		return nil, err
	}
	d.resolve(specs)
	d.runDefault(ctx, specs)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the examination did not come to its end: %w", context.Cause(ctx))
	}
	return d, nil
}

// resolve asks for each policy whether the host has what it needs, and how the
// limits are held.
func (d *diagnosis) resolve(specs []*sandbox.Spec) {
	host := *d.host
	if host.UID == 0 {
		// Root's jobs get an unused range.
		lease, err := userns.AllocateRange(userns.AllocateOptions{})
		if err != nil {
			host.SubIDsProblem = err.Error()
		} else {
			defer func() { _ = lease.Close() }() // the lock goes with the process, too
			host.SubIDs = lease.SubIDs()
		}
	}
	d.limitsProblem = errors.New("there is no policy " + limitsPolicy)
	for i, spec := range specs {
		v := &d.policies[i]
		if spec == nil {
			continue
		}
		_, v.err = sandbox.Resolve(spec, &host)
		if v.name != limitsPolicy {
			continue
		}
		// How ids are mapped has no bearing on limits.
		single := *spec.Policy
		single.User.Map = policy.MapSingle
		limited := *spec
		limited.Policy = &single
		var res *sandbox.Resolution
		if res, d.limitsProblem = sandbox.Resolve(&limited, &host); d.limitsProblem == nil {
			d.limits = res.Limits
		}
	}
}

// runDefault runs a command under the default policy, the only proof that it
// can be run.
func (d *diagnosis) runDefault(ctx context.Context, specs []*sandbox.Spec) {
	d.defaultRuns = errors.New("there is no default policy")
	for i := range d.policies {
		v := &d.policies[i]
		if v.name != "default" {
			continue
		}
		if v.err == nil {
			v.err = runNothing(ctx, specs[i])
		}
		d.defaultRuns = v.err
	}
}

// runNothing runs true(1). A host without it in the usual places shows as much
// by the sandbox's own "not found".
func runNothing(ctx context.Context, spec *sandbox.Spec) error {
	result, err := sandbox.Run(ctx, spec)
	switch {
	case err != nil:
		return err
	case result.Outcome == sandbox.OutcomeOK:
		return nil
	}
	return fmt.Errorf("true ended with outcome %s: %s", result.Outcome, result.Message)
}
