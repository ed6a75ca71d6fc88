package cgroup

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Unknown is a count that the kernel does not keep here.
const Unknown = -1

// Counters is what the kernel counted for a group. What it does not count, for
// want of the controller or of a newer kernel, is Unknown.
type Counters struct {
	// User and System are CPU time of the job's leaf, so without init's.
	User, System time.Duration
	// Throttled is for how long cpu.max kept the group waiting.
	Throttled time.Duration
	// Memory, its peak and the swap's are bytes of the whole group.
	Memory, MemoryPeak, Swap, SwapPeak int64
	// OOM counts how often the group's own limit could not be met, OOMKilled
	// the processes that were killed in it for want of memory, whoever's limit
	// it was. MemoryFull counts how often the limit was touched.
	OOM, OOMKilled, MemoryFull int64
	// OOMBelow counts how often a limit could not be met that the job has set
	// in its own part of the tree.
	OOMBelow int64
	// PIDs are the job's processes and threads, PIDsRefused its refused forks.
	PIDs, PIDsPeak, PIDsRefused int64
	// Bytes that block devices transferred.
	Read, Written int64
	// Stalled is for how long at least one of the group's processes waited for
	// a resource: "some" of its pressure files, see accounting/psi.rst.
	StalledCPU, StalledMemory, StalledIO time.Duration
}

// ErrGone says that the group was removed.
var ErrGone = errors.New("the control group is gone")

// NoCounters is what is known of a group that nobody has looked at.
func NoCounters() Counters {
	return Counters{
		User: Unknown, System: Unknown, Throttled: Unknown,
		Memory: Unknown, MemoryPeak: Unknown, Swap: Unknown, SwapPeak: Unknown, OOM: Unknown, OOMKilled: Unknown, MemoryFull: Unknown, OOMBelow: Unknown,
		PIDs: Unknown, PIDsPeak: Unknown, PIDsRefused: Unknown, Read: Unknown, Written: Unknown,
		StalledCPU: Unknown, StalledMemory: Unknown, StalledIO: Unknown,
	}
}

// Read reads all counters. It is meant to be called before the group's last
// process is gone, since a manager then removes the group; the error is then
// ErrGone.
func (g *Group) Read() (Counters, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := NoCounters()
	if g.closed || g.dir < 0 || g.job < 0 {
		return c, ErrGone
	}
	if err := c.cpu(g.job); err != nil {
		return c, ErrGone
	}
	if stat, err := pairs(g.dir, "cpu.stat"); err == nil {
		c.Throttled = microseconds(stat, "throttled_usec")
	}
	c.Memory, c.MemoryPeak = number(g.dir, "memory.current"), number(g.dir, "memory.peak")
	c.Swap, c.SwapPeak = number(g.dir, "memory.swap.current"), number(g.dir, "memory.swap.peak")
	if events, err := pairs(g.dir, "memory.events"); err == nil {
		c.OOMKilled = count(events, "oom_kill")
		c.OOM, c.MemoryFull = count(events, "oom"), count(events, "max")
	}
	// Of the group alone: what a limit inside it did would be the job's own.
	if events, err := pairs(g.dir, "memory.events.local"); err == nil {
		everywhere := c.OOM
		c.OOM, c.MemoryFull = count(events, "oom"), count(events, "max")
		c.OOMBelow = max(everywhere-c.OOM, 0)
	}
	c.PIDs, c.PIDsPeak = number(g.job, "pids.current"), number(g.job, "pids.peak")
	c.PIDsRefused = g.refused()
	c.transfers(g.dir)
	c.StalledCPU, c.StalledMemory, c.StalledIO = stalled(g.dir, "cpu.pressure"), stalled(g.dir, "memory.pressure"), stalled(g.dir, "io.pressure")
	return c, nil
}

// refused counts the forks that the job's limit has refused. Where the job makes
// groups of its own, kernels before Linux 6.11 count a refusal for the group of
// the process that forked, whose limit it may not have been, and forget it with
// that group: then nothing is known but what was counted for the group that the
// job was given, as long as that has no limit itself.
func (g *Group) refused() int64 {
	if g.ns < 0 {
		events, err := pairs(g.job, "pids.events")
		if err != nil {
			return Unknown
		}
		return count(events, "max")
	}
	if events, err := pairs(g.job, "pids.events.local"); err == nil {
		return count(events, "max")
	}
	events, err := pairs(g.ns, "pids.events")
	if limit, lerr := readFile(g.ns, "pids.max"); err != nil || lerr != nil || strings.TrimSpace(limit) != "max" || events["max"] == 0 {
		return Unknown
	}
	return count(events, "max")
}

// ReadUsage reads what a watch needs often: the job's CPU time, and what it
// uses now of memory and processes.
func (g *Group) ReadUsage() (Counters, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := NoCounters()
	if g.closed || g.job < 0 {
		return c, ErrGone
	}
	if err := c.cpu(g.job); err != nil {
		return c, ErrGone
	}
	c.Memory, c.PIDs = number(g.dir, "memory.current"), number(g.job, "pids.current")
	return c, nil
}

// cpu reads the CPU time, which every group has, whatever its controllers.
func (c *Counters) cpu(dir int) error {
	stat, err := pairs(dir, "cpu.stat")
	if err != nil {
		return err
	}
	c.User, c.System = microseconds(stat, "user_usec"), microseconds(stat, "system_usec")
	return nil
}

func (c *Counters) transfers(dir int) {
	text, err := readFile(dir, "io.stat")
	if err != nil {
		return
	}
	c.Read, c.Written = 0, 0
	for line := range strings.Lines(wholeLines(text)) {
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				continue
			}
			switch name {
			case "rbytes":
				c.Read += n
			case "wbytes":
				c.Written += n
			}
		}
	}
}

// pairs reads a file of lines "name value".
func pairs(dir int, name string) (map[string]int64, error) {
	text, err := readFile(dir, name)
	if err != nil {
		return nil, err
	}
	m := map[string]int64{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			m[key] = n
		}
	}
	return m, nil
}

func count(m map[string]int64, key string) int64 {
	if n, ok := m[key]; ok {
		return n
	}
	return Unknown
}

func microseconds(m map[string]int64, key string) time.Duration {
	if n, ok := m[key]; ok {
		return time.Duration(n) * time.Microsecond
	}
	return Unknown
}

// number reads a file that holds one number.
func number(dir int, name string) int64 {
	text, err := readFile(dir, name)
	if err != nil {
		return Unknown
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return Unknown
	}
	return n
}

// stalled reads the total of a pressure file's first line, in microseconds.
func stalled(dir int, name string) time.Duration {
	text, err := readFile(dir, name)
	if err != nil {
		return Unknown
	}
	line, _, _ := strings.Cut(text, "\n")
	_, total, ok := strings.Cut(line, "total=")
	n, err := strconv.ParseInt(total, 10, 64)
	if !ok || err != nil || !strings.HasPrefix(line, "some ") {
		return Unknown
	}
	return time.Duration(n) * time.Microsecond
}
