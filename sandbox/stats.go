package sandbox

import (
	"fmt"
	"os"
	"time"
)

// Stats is what a sandbox uses now. Amounts that nothing measures are Unknown.
type Stats struct {
	Wall time.Duration // since its start
	CPU  time.Duration // user + system, so far
	// Memory and MemoryPeak are bytes, scratch included.
	Memory, MemoryPeak Amount
	// PIDs are processes and threads of the job.
	PIDs Amount
	// Read and Written are bytes that block devices transferred.
	Read, Written Amount
	// Throttled is for how long the CPU quota kept it waiting, in nanoseconds.
	Throttled Amount
}

// Stats tells what the sandbox uses now. Without a control group it is what the
// last look at the processes found, up to 0.2 s ago. Before the job runs, and
// after its end, it is an error that wraps os.ErrProcessDone.
func (s *Sandbox) Stats() (Stats, error) { return s.current().stats() }

// Done is closed when the sandbox has ended and Wait has its result.
func (s *Sandbox) Done() <-chan struct{} { return s.done }

func (v *supervisor) stats() (Stats, error) {
	v.mu.Lock()
	running, group, p := v.job != nil, v.group, v.poller
	v.mu.Unlock()
	gone := fmt.Errorf("the job is not running: %w", os.ErrProcessDone)
	if !running {
		return Stats{}, gone
	}
	st := Stats{
		Wall: time.Since(v.started), Memory: Unknown, MemoryPeak: Unknown, PIDs: Unknown,
		Read: Unknown, Written: Unknown, Throttled: Unknown,
	}
	if group != nil {
		c, err := group.group.Read()
		if err != nil {
			return Stats{}, gone
		}
		peak, _ := group.peaks()
		st.CPU = c.User + c.System
		st.Memory, st.MemoryPeak = Amount(c.Memory), max(Amount(c.MemoryPeak), peak)
		st.PIDs, st.Read, st.Written, st.Throttled = Amount(c.PIDs), Amount(c.Read), Amount(c.Written), Amount(c.Throttled)
		return st, nil
	}
	if p == nil {
		return Stats{}, gone
	}
	seen, memory, threads := p.now()
	st.CPU, st.Memory, st.MemoryPeak, st.PIDs = seen.CPU, memory, seen.MemoryPeak, threads
	return st, nil
}
