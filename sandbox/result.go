package sandbox

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ResultVersion is the version of the JSON form of a Result.
const ResultVersion = 1

// Result says how a job ended and proves what was enforced. A job that fails
// is a Result, never a Go error.
type Result struct {
	Version int     `json:"version"` // ResultVersion
	Outcome Outcome `json:"outcome"`
	// Exit is the job's own exit code; nil when it did not exit by itself. For
	// outcome "error" it is 125, 126 or 127.
	Exit *int `json:"exit_code"`
	// Signal is what ended the job; nil when it exited. For outcome
	// "cancelled" it is the signal that asked brig to stop.
	Signal *Signal `json:"signal"`
	// Message is one sentence for people. It is safe to print on a terminal.
	Message    string    `json:"message"`
	Usage      Usage     `json:"usage"`
	Receipt    []Receipt `json:"receipt"`
	PlanDigest string    `json:"plan_digest"`
	StartedAt  time.Time `json:"started_at"` // start of the job, UTC
}

// Signal is a signal by name and by this machine's number.
type Signal struct {
	Name   string `json:"name"`
	Number int    `json:"number"`
}

// Usage is what the whole sandbox consumed. Amounts that nothing measured are
// Unknown, and null in JSON.
type Usage struct {
	Wall            time.Duration `json:"wall_ns"`
	CPU             time.Duration `json:"cpu_ns"` // user + system
	User            time.Duration `json:"user_ns"`
	System          time.Duration `json:"system_ns"`
	MemoryPeakBytes Amount        `json:"memory_peak_bytes"`
	PIDsPeak        Amount        `json:"pids_peak"` // threads count, as for RLIMIT_NPROC and pids.max
	ReadBytes       Amount        `json:"read_bytes"`
	WriteBytes      Amount        `json:"write_bytes"`
	OutputBytes     Amount        `json:"output_bytes"` // delivered, so at most the cap
	// What only a control group counts: the swap used at most, for how long the
	// CPU quota kept the sandbox waiting, and for how long at least one of its
	// processes waited for CPU, memory or a disk, in nanoseconds.
	SwapPeakBytes Amount `json:"swap_peak_bytes"`
	Throttled     Amount `json:"throttled_ns"`
	StalledCPU    Amount `json:"stalled_cpu_ns"`
	StalledMemory Amount `json:"stalled_memory_ns"`
	StalledIO     Amount `json:"stalled_io_ns"`

	// Rusage is kept for the isolate meta file and is not part of the JSON.
	Rusage Rusage `json:"-"`
}

// Exit codes of "brig run" where they are not the job's own.
const (
	ExitTimeLimit     = 124 // CPU or wall time; that of timeout(1)
	ExitBrigFailed    = 125 // brig failed or refused; 125 to 127 as docker and env have them
	ExitNotExecutable = 126
	ExitNotFound      = 127
	ExitMemoryLimit   = 137 // 128 + SIGKILL, as after the kernel's own out-of-memory kill
	ExitOutputLimit   = 153 // 128 + SIGXFSZ
)

// NewResult draws the verdict from what was seen. Usage, receipt, digest and
// start time are the caller's to fill in.
func NewResult(e Evidence) *Result {
	r := &Result{Version: ResultVersion}
	r.Outcome, r.Message = decide(e)
	r.Usage = Usage{
		User: e.Rusage.User, System: e.Rusage.System, CPU: e.Rusage.User + e.Rusage.System,
		MemoryPeakBytes: Unknown, PIDsPeak: Unknown, ReadBytes: Unknown, WriteBytes: Unknown, OutputBytes: Unknown,
		SwapPeakBytes: Unknown, Throttled: Unknown, StalledCPU: Unknown, StalledMemory: Unknown, StalledIO: Unknown,
		Rusage: e.Rusage,
	}
	switch {
	case r.Outcome == OutcomeError:
		code := failureCode(e.Failure.Kind)
		r.Exit = &code
	case r.Outcome == OutcomeCancelled:
		r.Signal = newSignal(cancelSignal(e))
	case e.Ended && e.Status.Exited():
		code := e.Status.ExitStatus()
		r.Exit = &code
	case e.Ended && e.Status.Signaled():
		r.Signal = newSignal(e.Status.Signal())
	}
	return r
}

// ExitCode is the exit code of "brig run" for this result.
func (r *Result) ExitCode() int {
	switch r.Outcome {
	case OutcomeMemoryLimit:
		return ExitMemoryLimit
	case OutcomeTimeLimit, OutcomeWallLimit:
		return ExitTimeLimit
	case OutcomeOutputLimit:
		return ExitOutputLimit
	case OutcomeOK:
		return 0
	case OutcomeError:
		if r.Exit != nil {
			return *r.Exit
		}
		return ExitBrigFailed
	case OutcomeCancelled, OutcomeProcessLimit, OutcomeFileLimit, OutcomeSyscallDenied, OutcomeSignal, OutcomeExit:
	}
	// The job's own end, or for a cancelled job the signal that brig was sent.
	switch {
	case r.Exit != nil:
		return *r.Exit
	case r.Signal != nil:
		return 128 + r.Signal.Number
	}
	return ExitBrigFailed
}

func failureCode(k FailureKind) int {
	switch k {
	case NotExecutable:
		return ExitNotExecutable
	case NotFound:
		return ExitNotFound
	case NoFailure, BrigFailed:
	}
	return ExitBrigFailed
}

// cancelSignal is the signal a cancelled job is reported with. A cancelled
// context carries none: it asks for termination, so SIGTERM stands for it.
func cancelSignal(e Evidence) unix.Signal {
	if e.CancelSignal == 0 {
		return unix.SIGTERM
	}
	return e.CancelSignal
}

func newSignal(s unix.Signal) *Signal { return &Signal{Name: signalName(s), Number: int(s)} }

// signalName never returns an empty string: the real-time signals, which have
// no names of their own, are "SIG34" and so on.
func signalName(s unix.Signal) string {
	if n := unix.SignalName(s); n != "" {
		return n
	}
	return "SIG" + strconv.Itoa(int(s))
}
