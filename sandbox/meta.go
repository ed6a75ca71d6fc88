package sandbox

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// appendMeta writes the meta file of ioi/isolate: lines of key:value, times in
// seconds with three decimals, sizes in KiB. The keys, their formats and the
// sentences are isolate's (isolate.1, META-FILES), so that software made for
// it needs no change. Three differences are of necessity:
//
//   - cg-mem and cg-oom-killed carry the sandbox's total and its verdict also
//     where brig supervised without a control group; the result's receipt says
//     which it was. cg-mem is left out where nothing measured.
//   - isolate has no limit on output. Such a job is reported as it ended, with
//     status SG or RE even if it exited with 0, never as a success.
//   - message is one line whatever is in it; isolate's is not.
func appendMeta(b []byte, r *Result) []byte {
	u := &r.Usage
	m := meta{b}
	if r.Outcome != OutcomeError {
		m.seconds("time", u.CPU)
		m.seconds("time-wall", u.Wall)
		m.int("max-rss", u.Rusage.MaxRSS>>10)
		m.int("csw-voluntary", u.Rusage.VoluntarySwitches)
		m.int("csw-forced", u.Rusage.ForcedSwitches)
		if u.MemoryPeakBytes != Unknown {
			m.int("cg-mem", int64(u.MemoryPeakBytes)>>10)
		}
		if r.Outcome == OutcomeMemoryLimit {
			m.int("cg-oom-killed", 1)
		}
	}
	m.end(r)
	return m.b
}

// end writes how the job ended: exitcode or exitsig, status, message, killed.
func (m *meta) end(r *Result) {
	switch r.Outcome {
	case OutcomeError:
		m.str("status", "XX")
		m.str("message", r.Message)
		return
	case OutcomeTimeLimit, OutcomeWallLimit:
		m.str("status", "TO")
		text := "Time limit exceeded"
		if r.Outcome == OutcomeWallLimit {
			text += " (wall clock)"
		}
		m.str("message", text)
		m.killed(r)
		return
	case OutcomeCancelled:
		if r.Signal != nil {
			m.int("exitsig", int64(r.Signal.Number))
		}
		m.str("status", "SG")
		m.str("message", "Interrupted")
		m.int("killed", 1)
		return
	case OutcomeOK:
		m.int("exitcode", 0)
		return
	case OutcomeMemoryLimit, OutcomeOutputLimit, OutcomeProcessLimit, OutcomeFileLimit,
		OutcomeSyscallDenied, OutcomeSignal, OutcomeExit:
	}
	text := ""
	switch {
	case r.Exit != nil:
		m.int("exitcode", int64(*r.Exit))
		m.str("status", "RE")
		text = "Exited with error status " + strconv.Itoa(*r.Exit)
	case r.Signal != nil:
		m.int("exitsig", int64(r.Signal.Number))
		m.str("status", "SG")
		text = "Caught fatal signal " + strconv.Itoa(r.Signal.Number)
	default: // killed as a whole before init could report
		m.int("exitsig", int64(unix.SIGKILL))
		m.str("status", "SG")
		text = "Caught fatal signal " + strconv.Itoa(int(unix.SIGKILL))
	}
	if r.Outcome == OutcomeMemoryLimit || r.Outcome == OutcomeOutputLimit || r.Outcome == OutcomeProcessLimit {
		text = r.Message
	}
	m.str("message", text)
	if r.Outcome == OutcomeMemoryLimit || r.Outcome == OutcomeOutputLimit {
		m.killed(r)
	}
}

// killed is written where brig ended the job: a job that overran a limit and
// still exited by itself was not killed.
func (m *meta) killed(r *Result) {
	if r.Exit == nil {
		m.int("killed", 1)
	}
}

type meta struct{ b []byte }

func (m *meta) str(key, value string) {
	m.b = append(append(append(append(m.b, key...), ':'), SafeText(value)...), '\n')
}

func (m *meta) int(key string, n int64) { m.str(key, strconv.FormatInt(n, 10)) }

func (m *meta) seconds(key string, d time.Duration) {
	ms := d.Milliseconds()
	frac := strconv.FormatInt(1000+ms%1000, 10)[1:]
	m.str(key, strconv.FormatInt(ms/1000, 10)+"."+frac)
}
