package sandbox

import (
	"time"

	"golang.org/x/sys/unix"
)

// Evidence is everything the supervisor saw of one job, gathered before the
// sandbox is torn down. It holds observations, no conclusions: decide draws
// those by one table, so that two limits touched at the same moment always
// give the same verdict.
type Evidence struct {
	// Failure is set when brig could not do its part. A failure that is only
	// the consequence of ending the sandbox (init's channel closing after a
	// cancel or a kill) is none and is left out.
	Failure Failure

	// Ended says that init reported the job's wait status. It stays false when
	// the whole sandbox was killed before the report could arrive.
	Ended bool
	// Status is the job's wait status, as wait4(2) gave it to init.
	Status unix.WaitStatus
	// Rusage is what init's wait4(2) calls added up.
	Rusage Rusage

	// Cancelled says that the caller asked for the end. CancelSignal is the
	// signal that did so; 0 where a context was cancelled.
	Cancelled    bool
	CancelSignal unix.Signal

	// The limits, as far as something was seen of them.
	Memory Overrun // bytes
	CPU    Overrun // nanoseconds of user + system time
	Wall   Overrun // nanoseconds
	Output Overrun // bytes of stdout + stderr together
	// Scratch counts only where the supervisor holds it: on a tmpfs the job's
	// own writes fail instead.
	Scratch Overrun // bytes
	// PIDs counts refused forks, not processes: Over means that a kernel
	// counter (pids.events) moved. Without a counter it stays zero, and the
	// receipt says "unknown".
	PIDs Overrun

	// CPURlimit is the soft RLIMIT_CPU brig set on the job; 0 for none. It is
	// in whole seconds and therefore never below the limit that was asked.
	CPURlimit time.Duration
	// FileSizeRlimit is the RLIMIT_FSIZE brig set on the job; Unknown for none.
	FileSizeRlimit Amount
	// FilterKills says that the job's seccomp filter ends a process that makes
	// a denied call (on_deny = "kill").
	FilterKills bool
}

// Overrun is one limit as the supervisor or a kernel counter saw it. The unit
// is that of the limit. Over alone says that the limit was passed; Limit and
// Seen are the evidence for it.
type Overrun struct {
	Over  bool
	Limit int64
	Seen  int64
	// Kernel is set when a counter of the kernel is the witness, unset when
	// the supervisor measured.
	Kernel bool
}

// Rusage is the part of getrusage(2) that a result needs.
type Rusage struct {
	User, System time.Duration
	// MaxRSS is the largest resident set of any one process, in bytes. It is
	// reported only in the isolate meta file: a process inherits the figure
	// across exec, so it is no evidence of what the sandbox used.
	MaxRSS int64
	// VoluntarySwitches and ForcedSwitches count context switches.
	VoluntarySwitches, ForcedSwitches int64
}

// Failure says that brig could not run the job.
type Failure struct {
	Kind    FailureKind
	Message string // a sentence that is safe to print; see SafeText
}

// FailureKind tells the three exit codes of a failed launch apart.
type FailureKind uint8

// The kinds of failure, with the exit code of each (those of docker and env).
const (
	NoFailure     FailureKind = iota
	BrigFailed                // 125: brig failed or refused
	NotExecutable             // 126: the command was found and cannot be executed
	NotFound                  // 127: there is no such command inside the sandbox
)
