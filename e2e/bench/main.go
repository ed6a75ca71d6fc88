// Command bench measures what a sandbox costs, beside what others and the
// kernel itself charge for one. Everything is measured in one run, in turns
// (A B C A B C …), so that a slow moment of the machine falls on all alike;
// figures are medians, and what counts are their ratios.
//
// It is started by run.sh, which builds what is measured and drops root.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	bin := flag.String("bin", "", "`directory` with brig, price, until, calls and hello")
	policy := flag.String("policy", "default", "`policy` for brig's runs")
	rounds := flag.Int("rounds", 300, "measured rounds")
	enforce := flag.Bool("enforce", false, "exit with a failure when a limit is exceeded")
	var g groups
	flag.StringVar(&g.ask, "groups", "", "`socket` of a process that measures control groups")
	flag.StringVar(&g.manager, "manager", "", "`socket` of a service manager, as that process sees it")
	flag.StringVar(&g.why, "no-groups", "", "`reason` why there are no control groups to measure")
	flag.StringVar(&g.whyManager, "no-manager", "", "`reason` why there is no service manager")
	flag.Parse()
	if *bin == "" || *policy == "" || *rounds < 1 {
		return fmt.Errorf("usage: bench -bin DIR [-policy NAME] [-rounds N] [-enforce]")
	}
	work, err := os.MkdirTemp("", "brig-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "file"), []byte("content\n"), 0o644); err != nil {
		return err
	}
	// The images of the benchmark go into a store of its own.
	if err := os.Setenv("XDG_DATA_HOME", filepath.Join(work, "data")); err != nil {
		return err
	}
	b := bench{bin: *bin, policy: *policy, work: work, rounds: *rounds, groups: &g}
	report, err := b.report()
	if err != nil {
		return err
	}
	fmt.Print(report.text())
	if exceeded := report.exceeded(); len(exceeded) > 0 && *enforce {
		return fmt.Errorf("limits exceeded: %v", exceeded)
	}
	return nil
}
