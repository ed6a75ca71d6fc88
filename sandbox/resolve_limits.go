package sandbox

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// LimitPlan is one limit with the mechanism that holds it on this host.
type LimitPlan struct {
	Limit      string
	Asked      string
	Mechanism  string
	EnforcedBy EnforcedBy
	// Written is the value given to the mechanism.
	Written string
	Holes   []string
}

// What the weaker mechanisms cannot see, by name, for receipts.
const (
	holeMemfd      = "the policy allows memfd_create: a memfd that is not mapped is not counted"
	holeNproc      = "counted by user id: a job that keeps CAP_SETUID can exceed it"
	holeEachProc   = "held for each process by itself"
	holeAffinity   = "CPUs are shared with other work of the host"
	holeUnlimited  = "the policy sets no limit"
	holeBestEffort = "nothing on this host holds it"
	holeProtection = "enclosing groups share out only what they are themselves protected with"
	holeLooks      = "between two looks (1 to 20 ms) a job can pass the limit by what its CPUs do in that time"
)

// The mechanisms that have no file or rlimit to be named by: brig looks at the
// processes, and the CPUs that each may use.
const (
	mechanismPoll     = "poll"
	mechanismAffinity = "sched_setaffinity"
)

// resolveLimits picks the mechanism for each limit, or says what is missing.
func (r *resolver) resolveLimits() error {
	for _, step := range []func() error{r.limitTime, r.limitCPUs, r.limitMemory, r.limitRlimits, r.checkNodes, r.limitGroupOnly} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, l := range r.res.Limits {
		if l.EnforcedBy == BySupervisor {
			r.plan.Limits = append(r.plan.Limits, plan.Limit{Name: l.Limit, Value: l.Written, Mechanism: l.Mechanism})
		}
	}
	return nil
}

func (r *resolver) limit(l LimitPlan) { r.res.Limits = append(r.res.Limits, l) }

// supervised adds a limit that brig's own supervisor holds, or refuses it
// where the policy wants the kernel to.
func (r *resolver) supervised(l LimitPlan) error {
	if r.p.Enforcement.Limits == policy.KernelOnly {
		return newError(CodeLimit, fmt.Sprintf("limit %s = %s: the kernel does not hold it here, and enforcement.limits is \"kernel\"", l.Limit, l.Asked),
			`set enforcement.limits = "kernel-or-supervised" to let brig's supervisor hold it`)
	}
	l.EnforcedBy = BySupervisor
	r.limit(l)
	return nil
}

// unheld adds a limit that nothing holds, or refuses it, which is the rule.
func (r *resolver) unheld(limit, asked, why, fix string) error {
	if r.p.Enforcement.Limits != policy.BestEffort {
		return newError(CodeLimit, fmt.Sprintf("limit %s = %s cannot be held here: %s", limit, asked, why),
			fix+`, or set enforcement.limits = "best-effort" to run without it`)
	}
	r.limit(LimitPlan{Limit: limit, Asked: asked, Mechanism: "none", EnforcedBy: ByNobody, Holes: []string{holeBestEffort}})
	return nil
}

func (r *resolver) unlimited(name string) {
	r.limit(LimitPlan{Limit: name, Asked: "unlimited", Mechanism: "none", EnforcedBy: ByNobody, Holes: []string{holeUnlimited}})
}

// limitTime: wall time is a deadline of the supervisor's. It holds the whole
// sandbox whatever the job does, but brig must run for it, so it is called
// supervised. CPU time has RLIMIT_CPU for each process, and the sum is the
// supervisor's.
func (r *resolver) limitTime() error {
	l := &r.p.Limits
	if l.WallTime == policy.Unlimited {
		r.unlimited("wall_time")
	} else {
		asked := time.Duration(l.WallTime).String()
		r.limit(LimitPlan{Limit: "wall_time", Asked: asked, Mechanism: "deadline", EnforcedBy: BySupervisor, Written: asked})
	}
	if l.CPUTime == policy.Unlimited {
		r.unlimited("cpu_time")
		return nil
	}
	d := time.Duration(l.CPUTime)
	secs := cpuRlimit(d)
	r.rlimit("cpu", secs, secs+1)
	lp := LimitPlan{Limit: "cpu_time", Asked: d.String(), Mechanism: mechanismPoll + "+RLIMIT_CPU", Written: d.String(), Holes: cpuHoles()}
	if r.group.driver != "" {
		// The kernel counts for the group whatever its processes do.
		lp.Mechanism, lp.Holes = "cpu.stat+RLIMIT_CPU", []string{holeLooks}
	}
	return r.supervised(lp)
}

// cpuRlimit is the soft RLIMIT_CPU, in seconds, behind a limit on CPU time. It
// is beyond the limit, since the kernel holds it against time sampled at ticks,
// which runs ahead of what is accounted: at the limit itself the signal could
// come before the time that would explain it.
func cpuRlimit(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) + 1 }

// limitCPUs holds whole CPUs by affinity. The filter then keeps the job from
// changing its mask.
func (r *resolver) limitCPUs() error {
	l, h := &r.p.Limits, r.host
	allowed := h.CPUs
	if l.CPUSet != "" {
		set, err := parseCPUSet(l.CPUSet)
		if err != nil {
			return newError(CodeLimit, fmt.Sprintf("cpuset %q: %v", l.CPUSet, err), `write a list like "0-1,3"`)
		}
		for _, c := range set {
			if !slices.Contains(h.CPUs, c) {
				return newError(CodeLimit, fmt.Sprintf("cpuset %q: CPU %d is not among those this process may use: %s", l.CPUSet, c, cpuList(h.CPUs)), "choose among these")
			}
		}
		allowed = set
	}
	want := len(allowed)
	if l.CPUs == policy.Unlimited {
		r.unlimited("cpus")
	} else {
		if l.CPUs > float64(h.Online) {
			return newError(CodeLimit, fmt.Sprintf("cpus %s: the range on this host is 0.01 to %d.00", formatCPUs(l.CPUs), h.Online), "ask for fewer")
		}
		whole := int(math.Ceil(l.CPUs))
		if r.controlled("cpu") {
			r.kernel("cpus", formatCPUs(l.CPUs), cgroup.Setting{File: cgroup.CPUMax, Value: cgroup.CPUMaxOf(l.CPUs)})
		} else if float64(whole) != l.CPUs && whole <= want {
			if err := r.unheld("cpus", formatCPUs(l.CPUs), "without the cpu controller only whole CPUs can be held, by affinity", fmt.Sprintf("ask for %d", whole)); err != nil {
				return err
			}
		} else {
			want = min(want, whole)
			r.limit(LimitPlan{
				Limit: "cpus", Asked: formatCPUs(l.CPUs), Mechanism: mechanismAffinity, EnforcedBy: ByKernel,
				Written: strconv.Itoa(want), Holes: []string{holeAffinity},
			})
		}
	}
	// A set that is asked for is set also where it is all there is: another CPU
	// may be switched on later.
	if (want < len(h.CPUs) || l.CPUSet != "") && (!r.controlled("cpuset") || want < len(allowed)) {
		chosen := r.chooseCPUs(allowed, want)
		r.setup = append(r.setup, plan.Op{Kind: plan.Affinity, Data: cpuList(chosen)})
		r.pinned = true
		if i := len(r.res.Limits) - 1; r.res.Limits[i].Limit == "cpus" && r.res.Limits[i].Mechanism == mechanismAffinity {
			r.res.Limits[i].Written = cpuList(chosen)
		}
	}
	if l.CPUSet != "" && r.controlled("cpuset") {
		r.kernel("cpuset", l.CPUSet, cgroup.Setting{File: cgroup.CPUSet, Value: cpuList(allowed)})
	} else if l.CPUSet != "" {
		r.limit(LimitPlan{Limit: "cpuset", Asked: l.CPUSet, Mechanism: mechanismAffinity, EnforcedBy: ByKernel, Written: cpuList(allowed)})
	}
	return nil
}

// chooseCPUs takes n of the allowed CPUs, starting where the host's rotation
// says, so that jobs started side by side do not share the first ones.
func (r *resolver) chooseCPUs(allowed []int, n int) []int {
	var list []int
	for i := range n {
		list = append(list, allowed[(r.host.Rotation+i)%len(allowed)])
	}
	slices.Sort(list)
	return list
}

// memoryFloor is the least that a process of any size can start with.
const memoryFloor = 1 << 20

func (r *resolver) limitMemory() error {
	l := &r.p.Limits
	switch {
	case l.Memory == policy.Unlimited:
		r.unlimited("memory")
	case r.controlled("memory"):
		if err := r.holdMemory(l.Memory); err != nil {
			return err
		}
		if l.Swap == 0 && r.group.noSwapLimit {
			if err := r.watchSwap(); err != nil {
				return err
			}
		}
	default:
		if l.Memory < memoryFloor {
			return newError(CodeLimit, fmt.Sprintf("memory %s is less than any program needs", bytesText(int64(l.Memory))), "ask for at least 1MiB")
		}
		r.res.FilterOptions.SupervisedMemory = true
		holes := memoryHoles()
		if allowsMemfd(r.p.Seccomp.Allow, r.p.Seccomp.Base) {
			holes = append(holes, holeMemfd)
		}
		// A far backstop only: at the limit itself it would break threads and
		// turn an overrun into an exit without evidence.
		if backstop := int64(l.Memory); backstop < 1<<50 {
			r.rlimit("data", 8*backstop+1<<30, 8*backstop+1<<30)
		}
		err := r.supervised(LimitPlan{Limit: "memory", Asked: bytesText(int64(l.Memory)), Mechanism: mechanismPoll, Written: strconv.FormatInt(int64(l.Memory), 10), Holes: holes})
		if err != nil {
			return err
		}
		if l.Swap == 0 {
			if err := r.watchSwap(); err != nil {
				return err
			}
		}
	}
	return r.limitScratch()
}

// watchSwap counts what is swapped out as memory.
func (r *resolver) watchSwap() error {
	return r.supervised(LimitPlan{
		Limit: "swap", Asked: "0", Mechanism: mechanismPoll, Written: "0",
		Holes: []string{"swapping is not prevented: what is swapped out counts as memory"},
	})
}

func allowsMemfd(allow []string, base string) bool {
	return base == "none" || slices.Contains(allow, "memfd_create") || slices.Contains(allow, "memfd_secret")
}

func (r *resolver) limitScratch() error {
	l := &r.p.Limits
	for _, s := range []struct {
		name  string
		asked string
		value int64
	}{
		{"scratch", bytesText(int64(l.Scratch)), int64(l.Scratch)},
		{"scratch_inodes", strconv.FormatInt(int64(l.ScratchInodes), 10), int64(l.ScratchInodes)},
	} {
		if s.value == policy.Unlimited {
			r.unlimited(s.name)
			continue
		}
		if r.upper != 0 && s.name == "scratch" {
			// The tmpfs holds it for all but the overlays.
			err := r.supervised(LimitPlan{Limit: s.name, Asked: s.asked, Mechanism: "tmpfs+poll", Written: strconv.FormatInt(s.value, 10), Holes: upperHoles()})
			if err != nil {
				return err
			}
			continue
		}
		r.limit(LimitPlan{Limit: s.name, Asked: s.asked, Mechanism: "tmpfs", EnforcedBy: ByKernel, Written: strconv.FormatInt(s.value, 10)})
	}
	if l.Output == policy.Unlimited {
		r.unlimited("output")
		return nil
	}
	// The pipe is brig's: not one byte more than the limit is taken from it.
	r.limit(LimitPlan{Limit: "output", Asked: bytesText(int64(l.Output)), Mechanism: "pump", EnforcedBy: BySupervisor, Written: strconv.FormatInt(int64(l.Output), 10)})
	return nil
}

func (r *resolver) rlimit(name string, soft, hard int64) {
	r.job = append(r.job, plan.Op{Kind: plan.Rlimit, Data: name, Size: soft, Inodes: hard})
}

// limitRlimits are those that the kernel holds for each process or user id.
func (r *resolver) limitRlimits() error {
	l := &r.p.Limits
	// 1, not 0: a core handler behind a pipe is started all the same for 0.
	r.rlimit("core", 1, 1)
	switch {
	case l.PIDs == policy.Unlimited:
		r.unlimited("pids")
	case r.controlled("pids"):
		// And no rlimit: a fork that it refused first would not be counted.
		r.holdPIDs(int64(l.PIDs))
	default:
		n := int64(l.PIDs)
		if r.plan.IDs.Map == string(policy.MapSingle) {
			n++ // init has the job's id and is counted with it
		}
		r.rlimit("nproc", n, n)
		lp := LimitPlan{Limit: "pids", Asked: strconv.FormatInt(int64(l.PIDs), 10), Mechanism: "RLIMIT_NPROC", EnforcedBy: ByKernel, Written: strconv.FormatInt(n, 10)}
		if slices.Contains(r.p.User.Capabilities, "CAP_SETUID") {
			lp.Holes = []string{holeNproc}
			lp.EnforcedBy = ""
			if err := r.supervised(lp); err != nil {
				return err
			}
		} else {
			r.limit(lp)
		}
	}
	for _, s := range []struct {
		limit, rlimit string
		value         int64
		size          bool
	}{
		{"open_files", "nofile", int64(l.OpenFiles), false},
		{"file_size", "fsize", int64(l.FileSize), true},
		{"stack", "stack", int64(l.Stack), true},
	} {
		r.rlimit(s.rlimit, s.value, s.value)
		if s.value == policy.Unlimited {
			r.unlimited(s.limit)
			continue
		}
		asked := strconv.FormatInt(s.value, 10)
		if s.size {
			asked = bytesText(s.value)
		}
		r.limit(LimitPlan{
			Limit: s.limit, Asked: asked, Mechanism: "RLIMIT_" + strings.ToUpper(s.rlimit), EnforcedBy: ByKernel,
			Written: strconv.FormatInt(s.value, 10), Holes: []string{holeEachProc},
		})
	}
	for _, name := range slices.Sorted(maps.Keys(l.Ulimits)) {
		u := l.Ulimits[name]
		if name == "core" || name == "data" {
			r.job = slices.DeleteFunc(r.job, func(op plan.Op) bool { return op.Data == name })
		}
		r.rlimit(name, u.Soft, u.Hard)
		r.limit(LimitPlan{
			Limit: "ulimit." + name, Asked: fmt.Sprintf("%d:%d", u.Soft, u.Hard), Mechanism: "RLIMIT_" + strings.ToUpper(name),
			EnforcedBy: ByKernel, Written: fmt.Sprintf("%d:%d", u.Soft, u.Hard), Holes: []string{holeEachProc},
		})
	}
	return nil
}

func formatCPUs(c float64) string { return strconv.FormatFloat(c, 'f', -1, 64) }

// cpuList writes CPUs as the kernel does: "0-1,3". The list is sorted.
func cpuList(cpus []int) string {
	var b []byte
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(cpus[i]), 10)
		if j > i {
			b = strconv.AppendInt(append(b, '-'), int64(cpus[j]), 10)
		}
		i = j + 1
	}
	return string(b)
}

// parseCPUSet reads the kernel's list format. The result is sorted and has no
// CPU twice.
func parseCPUSet(s string) ([]int, error) {
	var list []int
	for _, part := range strings.Split(s, ",") {
		lo, hi, isRange := strings.Cut(part, "-")
		if !isRange {
			hi = lo
		}
		a, err1 := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err1 != nil || err2 != nil || a < 0 || b < a || b >= 1024 {
			return nil, fmt.Errorf("%q is no range of CPUs below 1024", part)
		}
		for c := a; c <= b; c++ {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
