package sandbox

import "time"

// cpuWatch holds a limit on the user and system time of a whole sandbox where
// no control group does.
//
// What it sees comes from /proc/PID/stat, in ticks of 10 ms, each of four
// figures per process rounded down: it is late by up to 40 ms for a living
// process and never early. Dead processes are seen as soon as their parent has
// waited for them. A parent that ignores SIGCHLD hides its children's time; it
// is bounded by wall time × CPUs, and the receipt says so. The final figure of
// a job that ended by itself is not this one but init's rusage.
type cpuWatch struct {
	limit time.Duration // 0 for none
	cpus  int           // that the sandbox can keep busy at once
	used  time.Duration // the highest sum seen
}

// cpuLead is how much earlier than possible the limit is looked at, since the
// kernel's figure may be ahead of the clock by a tick.
const cpuLead = time.Second / userHZ

// see takes a new sum. The sum falls when a process dies unwaited for; the
// time was used nevertheless, so the highest one counts.
func (c *cpuWatch) see(used time.Duration) { c.used = max(c.used, used) }

func (c *cpuWatch) over() bool { return c.limit > 0 && c.used > c.limit }

// next is the time in which the limit cannot be passed even if every CPU is
// busy from now on. Overshoot is therefore one shortest interval, the ticks
// above and the time it takes to kill.
func (c *cpuWatch) next() time.Duration {
	if c.limit <= 0 {
		return never
	}
	left := c.limit - c.used + cpuLead
	return max(left/time.Duration(max(c.cpus, 1)), shortestPoll)
}

func (c *cpuWatch) overrun() Overrun {
	return Overrun{Over: c.over(), Limit: int64(c.limit), Seen: int64(c.used)}
}

// cpuHoles names what summed CPU time does not see, for the receipt.
func cpuHoles() []string {
	return []string{
		"the time of children of a process that ignores SIGCHLD is not seen once they are dead; it is bounded by wall time times CPUs",
		"measured in ticks of 10 ms: noticed up to 40 ms late for each living process",
	}
}
