package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
)

// stop is how the command is asked to end, as far as the flags say it.
func (f *runFlags) stop() (sandbox.Stop, error) {
	s := sandbox.Stop{Timeout: sandbox.DefaultStopTimeout}
	if f.stopSignal != "" {
		sig, err := sandbox.ParseSignal(f.stopSignal)
		if err != nil {
			return s, fmt.Errorf("--stop-signal: %w\n  fix: give a name (SIGTERM) or a number", err)
		}
		s.Signal = sig
	} else if f.flags.Changed("stop-signal") {
		return s, errors.New("--stop-signal is empty\n  fix: give a name (SIGTERM) or a number")
	}
	if !f.flags.Changed("stop-timeout") {
		return s, nil
	}
	d, err := policy.ParseDuration(f.stopTimeout)
	if n, nerr := strconv.ParseUint(f.stopTimeout, 10, 31); nerr == nil {
		d, err = policy.Duration(time.Duration(n)*time.Second), nil // as docker has it
	}
	if err != nil || d < 0 {
		return s, fmt.Errorf("--stop-timeout %q is not a time\n  fix: write 30s, or seconds alone; 0 ends the command at once", f.stopTimeout)
	}
	s.Timeout = time.Duration(d)
	return s, nil
}
