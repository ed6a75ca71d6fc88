package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Stop says how a job is asked to end before its sandbox is ended. A job that
// ends within the time has its own outcome; what is left then is ended as ever,
// with the outcome "cancelled". Limits that are passed end a sandbox at once, and
// so does the loss of the caller's terminal.
type Stop struct {
	// Signal is sent to the job's first process when the context of the run ends;
	// 0 is none: the sandbox is ended at once.
	Signal unix.Signal
	// Timeout is how long the job has. Zero ends it at once.
	Timeout time.Duration
}

// DefaultStopTimeout is how long a job has where nobody says it, as with Docker.
const DefaultStopTimeout = 10 * time.Second

// ParseSignal reads a signal by its name, with or without SIG and in either
// case, or by its number: "SIGTERM", "term", "15", "RTMIN+3".
func ParseSignal(s string) (unix.Signal, error) {
	const realtimeMin, last = 34, 64 // as programs of glibc count, see signal(7)
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	number := 0
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		number = offset(realtimeMin, rest)
	} else if rest, ok := strings.CutPrefix(name, "RTMAX"); ok {
		number = offset(last, rest)
	} else if n, err := strconv.Atoi(s); err == nil {
		number = n
	} else {
		number = int(unix.SignalNum("SIG" + name))
	}
	if number < 1 || number > last {
		return 0, fmt.Errorf("%q is not a signal", clip(s))
	}
	return unix.Signal(number), nil
}

// offset adds what follows RTMIN or RTMAX; 0 for what is no number.
func offset(from int, rest string) int {
	if rest == "" {
		return from
	}
	n, err := strconv.Atoi(rest)
	if err != nil || rest[0] != '+' && rest[0] != '-' {
		return 0
	}
	return from + n
}

// stop ends the sandbox, or asks the job to end first.
func (v *supervisor) stop(sig unix.Signal) {
	how := v.s.spec.Stop
	if how.Signal == 0 || how.Timeout <= 0 || v.signal(how.Signal) != nil {
		v.cancel(sig)
		return
	}
	late := time.AfterFunc(how.Timeout, func() { v.cancel(sig) })
	v.mu.Lock()
	v.late = late
	v.mu.Unlock()
}
