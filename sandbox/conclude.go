package sandbox

import (
	"errors"
	"time"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/launch"
)

// conclude completes the evidence with how the sandbox ended.
func (v *supervisor) conclude(err, closeErr error, total launch.Usage, seen *pollerSeen) {
	e := &v.evidence
	if v.end != nil && v.end.Failed == nil {
		e.Ended, e.Status = true, v.end.Status
	}
	used := launch.Usage{
		User: total.User, System: total.System, Voluntary: total.Voluntary, Forced: total.Forced,
	}
	if v.end != nil {
		used = v.end.Sandbox
		// What was alive at the end was seen by the last look, or is in what
		// init reaped afterwards.
		if !v.end.Alone && total.CPU()-v.end.Init.CPU() > used.CPU() {
			used = total
		}
	}
	if seen != nil && seen.CPU > used.CPU() {
		// Processes that were killed with the sandbox: nobody waited for them,
		// so only the last look knows of their time, as one figure.
		used.User = seen.CPU - used.System
	}
	c := &v.counters
	if c.User >= 0 && c.System >= 0 {
		// The kernel's own sum: whoever was waited for, killed or left alive.
		used.User, used.System = c.User, c.System
	}
	e.Rusage = Rusage{User: used.User, System: used.System, VoluntarySwitches: used.Voluntary, ForcedSwitches: used.Forced}
	l := &v.s.spec.Policy.Limits
	if l.CPUTime != policy.Unlimited {
		e.CPURlimit = time.Duration(cpuRlimit(time.Duration(l.CPUTime))) * time.Second
		// Found too late to end it, but passed all the same.
		if !e.CPU.Over && used.CPU() > time.Duration(l.CPUTime) && e.Ended {
			e.CPU = Overrun{Over: true, Limit: int64(l.CPUTime), Seen: int64(used.CPU()), Kernel: true}
		}
	}
	if l.FileSize != policy.Unlimited {
		e.FileSizeRlimit = Amount(l.FileSize)
	}
	v.concludeGroup()
	e.FilterKills = v.s.res.FilterKey != "" && v.s.spec.Policy.Seccomp.OnDeny == "kill"
	switch {
	case v.starved():
		e.Failure = Failure{BrigFailed, "the host, or a control group around the sandbox, ran out of memory, and the kernel ended the job for it: its own limit was not reached"}
		v.fix = "give the host or that group more memory, or run fewer jobs at a time"
	case err != nil && !v.killed():
		e.Failure, v.fix = explainFailure(err, v.s)
	case closeErr != nil && !v.killed():
		e.Failure = Failure{BrigFailed, SafeText(closeErr.Error())}
	}
}

// killed tells whether brig itself ended the sandbox, so that init's silence is
// no failure.
func (v *supervisor) killed() bool {
	e := &v.evidence
	return e.Cancelled || e.Memory.Over || e.CPU.Over || e.Wall.Over || e.Output.Over || e.Scratch.Over || e.Failure.Kind != NoFailure
}

// failure is the error that goes with a result whose outcome is brig's.
func (v *supervisor) failure(cause error) error {
	return &Error{Code: CodeLaunch, Message: v.evidence.Failure.Message, Fix: v.fix, Cause: cause}
}

// Failed is the result of a job that was never started because of err.
func Failed(err error) *Result {
	e := Evidence{FileSizeRlimit: Unknown, Failure: Failure{BrigFailed, SafeText(err.Error())}}
	var be *Error
	if errors.As(err, &be) {
		switch be.Code {
		case CodeNotFound:
			e.Failure.Kind = NotFound
		case CodeNotExec:
			e.Failure.Kind = NotExecutable
		default:
		}
	}
	r := NewResult(e)
	r.StartedAt = time.Now().UTC()
	return r
}
