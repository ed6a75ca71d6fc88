package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
)

func newPolicyCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check policy files and list everything that is wrong",
		Long: `Reads each file as --policy FILE would, with what it extends, and prints every
fault with its line. The exit code is 125 when there is one.`,
		Example: `  brig policy check ./contest.toml
  brig policy check --json policies/*.toml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reports := make([]checkReport, len(args))
			failed := false
			for i, file := range args {
				report, err := checkPolicy(file)
				if err != nil {
					return err
				}
				reports[i] = report
				failed = failed || len(report.Faults) > 0
			}
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), reports); err != nil {
					return err
				}
			} else {
				printReports(cmd, reports)
			}
			if failed {
				return &exitError{code: exitFailure}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// checkReport is what check says about one file.
type checkReport struct {
	File   string       `json:"file"`
	Faults []checkFault `json:"faults"`
}

// checkFault is a policy.Fault as JSON.
type checkFault struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`

	text string
}

// checkPolicy loads one file and gathers its faults.
func checkPolicy(file string) (checkReport, error) {
	report := checkReport{File: file, Faults: []checkFault{}}
	// The argument is a file even where its name could be a policy's.
	name := file
	if !strings.Contains(name, "/") {
		name = "./" + name
	}
	opts, err := policyOptions(name)
	if err != nil {
		return report, err
	}
	_, _, err = policy.Load(opts)
	var faults policy.FaultList
	if !errors.As(err, &faults) {
		return report, err
	}
	for _, f := range faults {
		report.Faults = append(report.Faults, checkFault{f.File, f.Line, f.Key, f.Problem, f.Error()})
	}
	return report, nil
}

// printReports writes the faults to standard error, and the names of the files
// without any to standard output.
func printReports(cmd *cobra.Command, reports []checkReport) {
	for _, report := range reports {
		if len(report.Faults) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", sandbox.SafeText(report.File))
		}
		for _, f := range report.Faults {
			fmt.Fprintln(cmd.ErrOrStderr(), f.text)
		}
	}
}
