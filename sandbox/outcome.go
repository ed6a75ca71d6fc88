package sandbox

import (
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Outcome says how a job ended.
type Outcome string

// The outcomes, in the order of precedence of the table below.
const (
	OutcomeError         Outcome = "error"          // brig failed, or the command could not be executed
	OutcomeCancelled     Outcome = "cancelled"      // the caller ended it
	OutcomeMemoryLimit   Outcome = "memory_limit"   // more memory than allowed
	OutcomeTimeLimit     Outcome = "time_limit"     // more CPU time than allowed
	OutcomeWallLimit     Outcome = "wall_limit"     // more real time than allowed
	OutcomeOutputLimit   Outcome = "output_limit"   // more output than allowed
	OutcomeProcessLimit  Outcome = "process_limit"  // forks were refused, and the job failed
	OutcomeFileLimit     Outcome = "file_limit"     // ended by SIGXFSZ under RLIMIT_FSIZE, or more than the scratch may hold
	OutcomeSyscallDenied Outcome = "syscall_denied" // ended by the seccomp filter
	OutcomeSignal        Outcome = "signal"         // ended by some other signal
	OutcomeExit          Outcome = "exit"           // exited with a code other than 0
	OutcomeOK            Outcome = "ok"             // exited with 0
)

// cpuSlack is how far the kernel's two accounts of CPU time may differ: it
// compares RLIMIT_CPU with time sampled at ticks and reports, in rusage, time
// scaled to what the scheduler measured.
const cpuSlack = 100 * time.Millisecond

// verdict is one row of the table.
type verdict struct {
	outcome Outcome
	// because says why the row stands above those below it.
	because string
	holds   func(Evidence) bool
	message func(Evidence) string
}

// verdicts is the one table of precedence: the first row that holds is the
// outcome. To add an outcome, add its constant, its row and its exit code in
// Result.ExitCode; the tests check that every pair of rows is decided.
func verdicts() []verdict {
	return []verdict{
		{
			OutcomeError, "when brig did not do its part, nothing seen of the job can be trusted",
			func(e Evidence) bool { return e.Failure.Kind != NoFailure },
			func(e Evidence) string { return SafeText(e.Failure.Message) },
		},
		{
			OutcomeCancelled, "whoever ended the job knows it; a limit touched on the way down would mislead",
			func(e Evidence) bool { return e.Cancelled },
			func(e Evidence) string { return "cancelled by " + signalName(cancelSignal(e)) },
		},
		{
			OutcomeMemoryLimit, "swapping and reclaim near the limit burn time, so a time limit may only be its echo",
			func(e Evidence) bool { return e.Memory.Over },
			func(e Evidence) string { return overText("memory", e.Memory, bytesText) },
		},
		{
			OutcomeTimeLimit, "a job that computes past its CPU time passes the wall limit as well sooner or later",
			cpuOver,
			func(e Evidence) string { return overText("CPU time", e.CPU, durationText) },
		},
		{
			OutcomeWallLimit, "output still in a pipe may be counted after the deadline has ended the job",
			func(e Evidence) bool { return e.Wall.Over },
			func(e Evidence) string { return overText("wall time", e.Wall, durationText) },
		},
		{
			OutcomeOutputLimit, "brig closed the job's output: the signal or exit code that follows is the consequence",
			func(e Evidence) bool { return e.Output.Over },
			func(e Evidence) string { return overText("output", e.Output, bytesText) },
		},
		{
			// A refused fork does not end a job, so a job that coped (exit code
			// 0) keeps "ok", and the receipt's hit tells of the refusal. Only
			// the kernel's counter is a witness here: without it the job's own
			// end stands, and the receipt says "unknown".
			OutcomeProcessLimit, "a job whose forks were refused and counted fails in any way it likes",
			func(e Evidence) bool { return e.PIDs.Over && e.PIDs.Kernel && jobFailed(e) },
			func(e Evidence) string {
				return fmt.Sprintf("process limit of %d reached: the kernel refused %d forks, and the job ended %s",
					e.PIDs.Limit, e.PIDs.Seen, endText(e))
			},
		},
		{
			// wait status tells no sender: a job can raise SIGXFSZ itself, and
			// says by that nothing about anybody but itself.
			OutcomeFileLimit, "a particular meaning of one signal",
			func(e Evidence) bool {
				return e.Scratch.Over || e.FileSizeRlimit >= 0 && endedBy(e, unix.SIGXFSZ)
			},
			func(e Evidence) string {
				if e.Scratch.Over {
					return overText("scratch", e.Scratch, bytesText)
				}
				return "file size limit of " + bytesText(int64(e.FileSizeRlimit)) + " exceeded (SIGXFSZ)"
			},
		},
		{
			OutcomeSyscallDenied, "a particular meaning of one signal, and only where the filter kills",
			func(e Evidence) bool { return e.FilterKills && endedBy(e, unix.SIGSYS) },
			func(Evidence) string { return "ended by the seccomp filter for a denied system call (SIGSYS)" },
		},
		{
			OutcomeSignal, "what the job itself did",
			func(e Evidence) bool { return e.Ended && e.Status.Signaled() },
			func(e Evidence) string { return "ended " + endText(e) },
		},
		{
			OutcomeExit, "what the job itself did",
			func(e Evidence) bool { return e.Ended && e.Status.Exited() && e.Status.ExitStatus() != 0 },
			func(e Evidence) string { return "ended " + endText(e) },
		},
		{
			OutcomeOK, "what the job itself did",
			func(e Evidence) bool { return e.Ended && e.Status.Exited() },
			func(Evidence) string { return "" },
		},
	}
}

// decide is the verdict over what was seen, and one sentence about it. It is
// pure. Evidence that fits no row means that the sandbox went away without a
// word about the job: that is brig's failure, never the job's success.
func decide(e Evidence) (Outcome, string) {
	for _, v := range verdicts() {
		if v.holds(e) {
			return v.outcome, v.message(e)
		}
	}
	return OutcomeError, "the sandbox ended without reporting how its job ended"
}

// cpuOver also takes the kernel's word: SIGXCPU at the soft RLIMIT_CPU, SIGKILL
// at the hard one a second later. Either signal alone proves nothing, since
// anybody can send it; the time used has to agree.
func cpuOver(e Evidence) bool {
	if e.CPU.Over {
		return true
	}
	if e.CPURlimit <= 0 || !endedBy(e, unix.SIGXCPU) && !endedBy(e, unix.SIGKILL) {
		return false
	}
	return e.Rusage.User+e.Rusage.System+cpuSlack >= e.CPURlimit
}

func endedBy(e Evidence, s unix.Signal) bool {
	return e.Ended && e.Status.Signaled() && e.Status.Signal() == s
}

func jobFailed(e Evidence) bool {
	return e.Ended && (e.Status.Signaled() || e.Status.Exited() && e.Status.ExitStatus() != 0)
}

func endText(e Evidence) string {
	if e.Status.Signaled() {
		return "by signal " + strconv.Itoa(int(e.Status.Signal())) + " (" + signalName(e.Status.Signal()) + ")"
	}
	return "with exit code " + strconv.Itoa(e.Status.ExitStatus())
}

// overText says what was allowed, what was seen, and who saw it.
func overText(what string, o Overrun, text func(int64) string) string {
	by := "the supervisor measured"
	if o.Kernel {
		by = "the kernel counted"
	}
	if o.Limit <= 0 {
		return what + " limit exceeded"
	}
	if o.Seen <= o.Limit {
		return what + " limit of " + text(o.Limit) + " exceeded"
	}
	return what + " limit of " + text(o.Limit) + " exceeded: " + by + " " + text(o.Seen)
}

func durationText(n int64) string { return time.Duration(n).String() }

// bytesText writes exact binary multiples with their unit and everything else
// as bytes with an approximation, so that no figure is rounded away.
func bytesText(n int64) string {
	units := []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}}
	for _, u := range units {
		if n < u.size {
			continue
		}
		if n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
		return strconv.FormatInt(n, 10) + " bytes (" + strconv.FormatFloat(float64(n)/float64(u.size), 'f', 1, 64) + u.name + ")"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
