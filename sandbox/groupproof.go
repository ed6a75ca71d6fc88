package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// polls tells whether a limit is held by looking at the sandbox's processes.
func (res *Resolution) polls() bool {
	if res.Plan.Find(plan.Cgroup) == nil {
		return true // for the peaks, which nobody else keeps
	}
	for i := range res.Limits {
		if strings.HasPrefix(res.Limits[i].Mechanism, mechanismPoll) {
			return true
		}
	}
	return false
}

// heldBy tells whether a limit is held by a file of the control group.
func (res *Resolution) heldBy(file string) bool {
	for i := range res.Limits {
		if res.Limits[i].Mechanism == file {
			return true
		}
	}
	return false
}

// concludeGroup adds what the kernel counted in the control group.
func (v *supervisor) concludeGroup() {
	e, c, l := &v.evidence, &v.counters, &v.s.spec.Policy.Limits
	// Both: the group's own limit could not be met, and something was killed. A
	// job that lost a process of many and coped ends as it says itself.
	if v.s.res.heldBy(cgroup.MemoryMax) && c.OOM > 0 && c.OOMKilled > 0 && (l.OOMGroup || !e.Ended || jobFailed(*e)) {
		e.Memory = Overrun{Over: true, Limit: int64(l.Memory), Seen: max(c.MemoryPeak, 0), Kernel: true}
	}
	// Before Linux 6.11 the counter also moves where an enclosing group's limit
	// was the one that was reached; then the job had fewer than it may.
	reached := c.PIDsPeak < 0 || c.PIDsPeak >= int64(l.PIDs)
	if v.s.res.heldBy(cgroup.PIDsMax) && c.PIDsRefused > 0 && reached {
		e.PIDs = Overrun{Over: true, Limit: int64(l.PIDs), Seen: c.PIDsRefused, Kernel: true}
	}
}

// starved tells whether the job was killed for want of memory that was not its
// own limit's.
func (v *supervisor) starved() bool {
	return !v.killed() && v.counters.OOMKilled > 0 && v.counters.OOM == 0 && v.counters.OOMBelow <= 0
}

// groupUsage replaces what was seen by what the kernel counted.
func (v *supervisor) groupUsage(r *Result) {
	if v.s.group == nil {
		return
	}
	c, u := &v.counters, &r.Usage
	memory, pids := Unknown, Unknown
	if v.group != nil {
		memory, pids = v.group.peaks()
	}
	replace := func(to *Amount, counted int64, seen Amount) {
		switch {
		case counted >= 0:
			*to = Amount(counted)
		case seen >= 0:
			*to = max(*to, seen)
		}
	}
	replace(&u.MemoryPeakBytes, c.MemoryPeak, memory)
	replace(&u.PIDsPeak, c.PIDsPeak, pids)
	replace(&u.ReadBytes, c.Read, Unknown)
	replace(&u.WriteBytes, c.Written, Unknown)
	u.SwapPeakBytes = Amount(c.SwapPeak)
	u.Throttled = Amount(c.Throttled)
	u.StalledCPU, u.StalledMemory, u.StalledIO = Amount(c.StalledCPU), Amount(c.StalledMemory), Amount(c.StalledIO)
}

// groupReceipt completes the receipt of a limit that the control group holds.
// It returns false for any other.
func (v *supervisor) groupReceipt(rc *Receipt, r *Result) bool {
	g, c := v.s.group, &v.counters
	if g == nil {
		return false
	}
	touched := func(n int64) {
		if n >= 0 {
			rc.Hit = hit(n > 0)
		}
	}
	switch rc.Mechanism {
	case cgroup.MemoryMax:
		rc.Peak = r.Usage.MemoryPeakBytes
		touched(c.MemoryFull)
		if v.evidence.Memory.Over {
			rc.Hit = HitYes
		}
	case cgroup.SwapMax:
		rc.Peak = r.Usage.SwapPeakBytes
	case cgroup.PIDsMax:
		rc.Peak = r.Usage.PIDsPeak
		switch l := &v.s.spec.Policy.Limits; {
		case c.PIDsRefused >= 0:
			rc.Hit = hit(v.evidence.PIDs.Over)
		case c.PIDsPeak >= 0 && c.PIDsPeak < int64(l.PIDs):
			rc.Hit = HitNo // none was refused before there were as many
		}
	case cgroup.CPUMax:
		if c.Throttled >= 0 {
			rc.Hit = hit(c.Throttled > 0)
		}
	case cgroup.MemoryHigh, cgroup.MemoryLow, cgroup.CPUWeight, cgroup.CPUSet, cgroup.CPUSetMems, cgroup.IOMax:
	default:
		return false
	}
	for _, b := range v.bounds {
		if b.File == rc.Mechanism {
			rc.Holes = append(slices.Clone(rc.Holes), fmt.Sprintf("the enclosing group %s allows only %s, to all that is in it", SafeText(b.Group), SafeText(b.Value)))
		}
	}
	rc.ReadBack = g.ReadBack(rc.Mechanism, rc.Mechanism == cgroup.PIDsMax)
	if device, _, ok := strings.Cut(rc.Written, " "); ok && rc.Mechanism == cgroup.IOMax {
		for line := range strings.Lines(rc.ReadBack) {
			if strings.HasPrefix(line, device+" ") {
				rc.ReadBack = strings.TrimSpace(line)
				break
			}
		}
	}
	return true
}
