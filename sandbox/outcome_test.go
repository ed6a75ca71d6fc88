package sandbox

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	exited0 = unix.WaitStatus(0)
	exited7 = unix.WaitStatus(7 << 8)
)

func signaled(s unix.Signal) unix.WaitStatus { return unix.WaitStatus(s) }

func ended(e Evidence, s unix.WaitStatus) Evidence {
	e.Ended, e.Status = true, s
	if e.FileSizeRlimit == 0 {
		e.FileSizeRlimit = Unknown
	}
	return e
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name    string
		e       Evidence
		outcome Outcome
		message string
		code    int
	}{
		{"ok", ended(Evidence{}, exited0), OutcomeOK, "", 0},
		{"exit", ended(Evidence{}, exited7), OutcomeExit, "ended with exit code 7", 7},
		{"exit 137 is no memory limit", ended(Evidence{}, unix.WaitStatus(137<<8)), OutcomeExit, "ended with exit code 137", 137},
		{"signal", ended(Evidence{}, signaled(unix.SIGSEGV)), OutcomeSignal, "ended by signal 11 (SIGSEGV)", 139},
		{"core dumped", ended(Evidence{}, signaled(unix.SIGSEGV)|0x80), OutcomeSignal, "ended by signal 11 (SIGSEGV)", 139},
		{"real-time signal", ended(Evidence{}, signaled(34)), OutcomeSignal, "ended by signal 34 (SIG34)", 162},
		{"SIGKILL alone is no limit", ended(Evidence{}, signaled(unix.SIGKILL)), OutcomeSignal, "ended by signal 9 (SIGKILL)", 137},
		{"no report", Evidence{FileSizeRlimit: Unknown}, OutcomeError, "the sandbox ended without reporting how its job ended", 125},
		{
			"brig failed", ended(Evidence{Failure: Failure{BrigFailed, "mount \x1b[2J: no"}}, exited0),
			OutcomeError, `mount \x1b[2J: no`, 125,
		},
		{"not executable", Evidence{Failure: Failure{NotExecutable, "a.txt"}}, OutcomeError, "a.txt", 126},
		{"not found", Evidence{Failure: Failure{NotFound, "nope"}}, OutcomeError, "nope", 127},
		{"interrupted", Evidence{Cancelled: true, CancelSignal: unix.SIGINT}, OutcomeCancelled, "cancelled by SIGINT", 130},
		{"terminated", Evidence{Cancelled: true, CancelSignal: unix.SIGTERM}, OutcomeCancelled, "cancelled by SIGTERM", 143},
		{"context", ended(Evidence{Cancelled: true}, signaled(unix.SIGKILL)), OutcomeCancelled, "cancelled by SIGTERM", 143},
		{
			"memory, supervised",
			Evidence{Memory: Overrun{Over: true, Limit: 64 << 20, Seen: 71 << 20}},
			OutcomeMemoryLimit, "memory limit of 64MiB exceeded: the supervisor measured 71MiB", 137,
		},
		{
			"memory, kernel", ended(Evidence{Memory: Overrun{Over: true, Limit: 100, Seen: 100, Kernel: true}}, signaled(unix.SIGKILL)),
			OutcomeMemoryLimit, "memory limit of 100 bytes exceeded", 137,
		},
		{
			"CPU time",
			Evidence{CPU: Overrun{Over: true, Limit: 2e9, Seen: 2010e6}},
			OutcomeTimeLimit, "CPU time limit of 2s exceeded: the supervisor measured 2.01s", 124,
		},
		{
			"SIGXCPU with the time used",
			ended(Evidence{CPURlimit: time.Second, CPU: Overrun{Limit: 1e9}, Rusage: Rusage{User: 950 * time.Millisecond}}, signaled(unix.SIGXCPU)),
			OutcomeTimeLimit, "CPU time limit of 1s exceeded", 124,
		},
		{
			"SIGXCPU sent by somebody",
			ended(Evidence{CPURlimit: time.Second, Rusage: Rusage{User: time.Millisecond}}, signaled(unix.SIGXCPU)),
			OutcomeSignal, "ended by signal 24 (SIGXCPU)", 152,
		},
		{
			"SIGXCPU without a limit", ended(Evidence{Rusage: Rusage{User: time.Hour}}, signaled(unix.SIGXCPU)),
			OutcomeSignal, "ended by signal 24 (SIGXCPU)", 152,
		},
		{"wall time", Evidence{Wall: Overrun{Over: true, Limit: 1e9, Seen: 1e9}}, OutcomeWallLimit, "wall time limit of 1s exceeded", 124},
		{
			"output", ended(Evidence{Output: Overrun{Over: true, Limit: 16 << 20, Seen: 16<<20 + 1}}, signaled(unix.SIGPIPE)),
			OutcomeOutputLimit, "output limit of 16MiB exceeded: the supervisor measured 16777217 bytes (16.0MiB)", 153,
		},
		{
			"processes, counted", ended(Evidence{PIDs: Overrun{Over: true, Limit: 64, Seen: 3, Kernel: true}}, exited7),
			OutcomeProcessLimit, "process limit of 64 reached: the kernel refused 3 forks, and the job ended with exit code 7", 7,
		},
		{"processes, coped", ended(Evidence{PIDs: Overrun{Over: true, Limit: 64, Seen: 3, Kernel: true}}, exited0), OutcomeOK, "", 0},
		{"processes, not counted", ended(Evidence{PIDs: Overrun{Over: true, Limit: 64, Seen: 64}}, exited7), OutcomeExit, "ended with exit code 7", 7},
		{
			"file size", ended(Evidence{FileSizeRlimit: 1 << 20}, signaled(unix.SIGXFSZ)),
			OutcomeFileLimit, "file size limit of 1MiB exceeded (SIGXFSZ)", 153,
		},
		{"SIGXFSZ without a limit", ended(Evidence{}, signaled(unix.SIGXFSZ)), OutcomeSignal, "ended by signal 25 (SIGXFSZ)", 153},
		{
			"filter", ended(Evidence{FilterKills: true}, signaled(unix.SIGSYS)),
			OutcomeSyscallDenied, "ended by the seccomp filter for a denied system call (SIGSYS)", 159,
		},
		{"SIGSYS under EPERM", ended(Evidence{}, signaled(unix.SIGSYS)), OutcomeSignal, "ended by signal 31 (SIGSYS)", 159},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcome, message := decide(c.e)
			if outcome != c.outcome || message != c.message {
				t.Errorf("decide: %s, %q; want %s, %q", outcome, message, c.outcome, c.message)
			}
			if code := NewResult(c.e).ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
		})
	}
}

// order is the design's; the table's must not drift from it.
var order = []Outcome{
	OutcomeError, OutcomeCancelled, OutcomeMemoryLimit, OutcomeTimeLimit, OutcomeWallLimit, OutcomeOutputLimit,
	OutcomeProcessLimit, OutcomeFileLimit, OutcomeSyscallDenied, OutcomeSignal, OutcomeExit, OutcomeOK,
}

// sign adds the evidence of one outcome to e. It reports false where the
// outcome is a way to end that e already has another of.
func sign(e *Evidence, o Outcome) bool {
	status := func(s unix.WaitStatus) bool {
		if e.Ended && e.Status != s {
			return false
		}
		e.Ended, e.Status = true, s
		return true
	}
	over := Overrun{Over: true, Limit: 1, Seen: 2}
	switch o {
	case OutcomeError:
		e.Failure = Failure{BrigFailed, "x"}
	case OutcomeCancelled:
		e.Cancelled = true
	case OutcomeMemoryLimit:
		e.Memory = over
	case OutcomeTimeLimit:
		e.CPU = over
	case OutcomeWallLimit:
		e.Wall = over
	case OutcomeOutputLimit:
		e.Output = over
	case OutcomeProcessLimit:
		if e.Ended && e.Status == exited0 {
			return false
		}
		e.PIDs = Overrun{Over: true, Kernel: true}
		if !e.Ended {
			return status(exited7)
		}
	case OutcomeFileLimit:
		e.FileSizeRlimit = 1
		return status(signaled(unix.SIGXFSZ))
	case OutcomeSyscallDenied:
		e.FilterKills = true
		return status(signaled(unix.SIGSYS))
	case OutcomeSignal:
		return status(signaled(unix.SIGTERM))
	case OutcomeExit:
		return status(exited7)
	case OutcomeOK:
		return status(exited0)
	}
	return true
}

func TestPrecedenceOfEveryPair(t *testing.T) {
	rows := verdicts()
	if len(rows) != len(order) {
		t.Fatalf("%d rows, want %d", len(rows), len(order))
	}
	pairs := 0
	for i, first := range order {
		if rows[i].outcome != first || rows[i].because == "" {
			t.Errorf("row %d is %s (because %q), want %s", i, rows[i].outcome, rows[i].because, first)
		}
		for _, second := range order[i:] {
			for _, swap := range []bool{false, true} {
				a, b := first, second
				if swap {
					a, b = b, a
				}
				e := Evidence{FileSizeRlimit: Unknown}
				if !sign(&e, a) || !sign(&e, b) {
					continue
				}
				pairs++
				t.Run(fmt.Sprint(a, " and ", b), func(t *testing.T) {
					if got, _ := decide(e); got != first {
						t.Errorf("outcome %s, want %s", got, first)
					}
				})
			}
		}
	}
	if pairs < 100 {
		t.Errorf("only %d pairs could be tested", pairs)
	}
}

func TestSafeText(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"plain 'text' \\ \"q\"":   "plain 'text' \\ \"q\"",
		"grüße 日本":                "grüße 日本",
		"a\nstatus:OK\r":          `a\nstatus:OK\r`,
		"\x1b]0;title\a":          `\x1b]0;title\a`,
		"\x9b2J":                  `\x9b2J`,
		"\u009b2J":                `\u009b2J`,
		"\u202eexe.txt":           `\u202eexe.txt`,
		"bad\xff\x00":             `bad\xff\x00`,
		"\U000e0041 tag\u2028":    `\U000e0041 tag\u2028`,
		"replacement \ufffd kept": "replacement \ufffd kept",
	} {
		if got := SafeText(in); got != want {
			t.Errorf("SafeText(%q) = %q, want %q", in, got, want)
		}
	}
}
