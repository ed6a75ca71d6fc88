package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// CgroupNone is the value of Spec.CgroupManager that makes no control group;
// the others are cgroup.Systemd, cgroup.Cgroupfs, and "" for whichever serves.
const CgroupNone = "none"

// groupPlan is the control group that the plan makes, or why it makes none.
type groupPlan struct {
	driver, parent string // "" for none
	controllers    []string
	noSwapLimit    bool
	why, fix       string // where there is none
	delegated      bool   // the job may divide its part

	limits, job []cgroup.Setting
}

// resolveCgroup chooses the driver. A part of the tree that is the caller's own
// comes first, since a manager has to be asked and waited for.
func (r *resolver) resolveCgroup() error {
	g, c := &r.group, r.host.Cgroups
	want := r.spec.CgroupManager
	if !slices.Contains([]string{"", cgroup.Systemd, cgroup.Cgroupfs, CgroupNone}, want) {
		return newError(CodeBadSpec, fmt.Sprintf("cgroup manager %q", clip(want)), "use systemd, cgroupfs or none, or leave it out")
	}
	if want == CgroupNone {
		g.why, g.fix = "the cgroup manager is \"none\"", "leave --cgroup-manager out"
		return nil
	}
	g.why, g.fix = "this host has no control groups of version 2 alone (at /sys/fs/cgroup)",
		"boot it with systemd.unified_cgroup_hierarchy=1, or start the container around brig with its own cgroup namespace"
	if why, fix, ok := r.explainNoGroup(want); ok {
		g.why, g.fix = why, fix
	}
	if c == nil || c.Layout != "v2" {
		return r.mustHave(want)
	}
	g.noSwapLimit = c.NoSwapLimit
	own := c.Parent != "" && (want == cgroup.Cgroupfs || c.Certain)
	switch {
	case want != cgroup.Systemd && own:
		g.driver, g.parent, g.controllers = cgroup.Cgroupfs, c.Parent, c.ParentControllers
	case want != cgroup.Cgroupfs && c.Manager != "" && r.host.Scope.OK:
		g.driver, g.parent, g.controllers = cgroup.Systemd, plan.Slice, c.ManagerControllers
	case c.Session != probe.Session{}: // explained above
	case want == cgroup.Cgroupfs:
		g.why, g.fix = "no part of the tree of control groups is the caller's to divide", "start brig in a service with Delegate=yes, or use --cgroup-manager systemd"
	case r.host.Scope.Cause != "":
		g.why, g.fix = r.host.Scope.Cause, r.host.Scope.Fix
	default:
		g.why, g.fix = "neither systemd nor a part of the tree of control groups is there for the caller", "see brig doctor"
	}
	if g.driver == "" {
		return r.mustHave(want)
	}
	return nil
}

// noteNoGroup says in the plan why weaker mechanisms hold the limits.
func (r *resolver) noteNoGroup() {
	if r.group.driver == "" && r.spec.CgroupManager != CgroupNone {
		r.note("no control group: %s", r.group.why)
	}
}

// mustHave refuses a host without the driver that was asked for by name.
func (r *resolver) mustHave(want string) error {
	if want == "" {
		return nil
	}
	return newError(CodeCgroup, fmt.Sprintf("cgroup manager %q cannot be used here: %s", want, r.group.why), r.group.fix)
}

// controlled tells whether the kernel can hold a limit of the controller here.
func (r *resolver) controlled(controller string) bool {
	return r.group.driver != "" && slices.Contains(r.group.controllers, controller)
}

// kernel adds a limit that the control group holds.
func (r *resolver) kernel(limit, asked string, s cgroup.Setting) {
	r.group.limits = append(r.group.limits, s)
	r.limit(LimitPlan{Limit: limit, Asked: asked, Mechanism: s.File, EnforcedBy: ByKernel, Written: s.Value})
}

// groupOps are the ops that make the group and put the job into it; none where
// the group would hold nothing.
func (r *resolver) groupOps() (initOp, jobOp []plan.Op) {
	g := &r.group
	if g.driver == "" || len(g.limits)+len(g.job) == 0 && !g.delegated {
		return nil, nil
	}
	op := plan.Op{Kind: plan.Cgroup, Data: g.driver, Source: g.parent}
	for _, s := range g.limits {
		op.Names = append(op.Names, s.String())
	}
	for _, s := range g.job {
		op.Write = append(op.Write, s.String())
	}
	job := plan.Op{Kind: plan.JobCgroup}
	if r.host.CgroupNS.OK {
		job.Data = plan.CgroupRoot
	}
	jobOp = []plan.Op{job}
	if g.delegated {
		op.Flags = plan.Delegated
		jobOp = append(jobOp, plan.Op{Kind: plan.CgroupMount, Target: policy.CgroupTarget, Flags: plan.NoSuid | plan.NoDev | plan.NoExec})
	}
	return []plan.Op{op}, jobOp
}

// limitGroupOnly are those that nothing but a control group can hold.
func (r *resolver) limitGroupOnly() error {
	l := &r.p.Limits
	size := func(n policy.Size) string { return strconv.FormatInt(int64(n), 10) }
	for _, s := range []struct {
		name, asked string
		set         bool
		to          cgroup.Setting
	}{
		{"cpu_weight", size(policy.Size(l.CPUWeight)), l.CPUWeight > 0 && (l.CPUWeight != 100 || r.controlled("cpu")), cgroup.Setting{File: cgroup.CPUWeight, Value: size(policy.Size(l.CPUWeight))}},
		{"cpuset_mems", l.CPUSetMems, l.CPUSetMems != "", cgroup.Setting{File: cgroup.CPUSetMems, Value: l.CPUSetMems}},
		{"memory_low", bytesText(int64(l.MemoryLow)), l.MemoryLow > 0, cgroup.Setting{File: cgroup.MemoryLow, Value: size(l.MemoryLow)}},
		{"memory_high", bytesText(int64(l.MemoryHigh)), l.MemoryHigh > 0, cgroup.Setting{File: cgroup.MemoryHigh, Value: size(l.MemoryHigh)}},
		{"swap", bytesText(int64(l.Swap)), l.Swap > 0, cgroup.Setting{File: cgroup.SwapMax, Value: size(l.Swap)}},
	} {
		if !s.set {
			continue
		}
		why, fix := r.lacking(s.to.Controller())
		switch {
		case s.to.File == cgroup.SwapMax && r.group.noSwapLimit && r.group.driver != "":
			why, fix = "the kernel does not account swap", "boot it with swapaccount=1"
		case r.controlled(s.to.Controller()):
			r.kernel(s.name, s.asked, s.to)
			if s.to.File == cgroup.MemoryLow {
				r.res.Limits[len(r.res.Limits)-1].Holes = []string{holeProtection}
			}
			continue
		}
		if err := r.unheld(s.name, s.asked, why, fix); err != nil {
			return err
		}
	}
	return r.limitIO()
}

// limitIO bounds transfers on the disks behind the paths that the policy names.
func (r *resolver) limitIO() error {
	taken := map[string]string{}
	for _, io := range r.p.Limits.IO {
		var rates []string
		for _, rate := range []struct {
			name  string
			value int64
		}{{"rbps", int64(io.ReadBPS)}, {"wbps", int64(io.WriteBPS)}, {"riops", int64(io.ReadIOPS)}, {"wiops", int64(io.WriteIOPS)}} {
			if rate.value > 0 {
				rates = append(rates, rate.name+"="+strconv.FormatInt(rate.value, 10))
			}
		}
		asked := strings.Join(append([]string{SafeText(io.Device)}, rates...), " ")
		d, ok := r.host.Devices[io.Device]
		why, fix := d.Problem, d.Fix
		switch {
		case why != "":
		case !r.controlled("io"):
			why, fix = r.lacking("io")
		case !ok:
			why, fix = "its device has not been looked for", "ask for what Spec.Question lists"
		}
		if why != "" {
			if err := r.unheld("io", asked, SafeText(why), SafeText(fix)); err != nil {
				return err
			}
			continue
		}
		device := fmt.Sprintf("%d:%d", d.Major, d.Minor)
		if other := taken[device]; other != "" {
			return newError(CodeLimit, fmt.Sprintf("limits.io names the disk %s twice: by %s and by %s", SafeText(d.Name), other, SafeText(io.Device)), "put all its rates into one entry")
		}
		taken[device] = SafeText(io.Device)
		r.kernel("io", asked, cgroup.Setting{File: cgroup.IOMax, Value: device + " " + strings.Join(rates, " ")})
		r.res.Limits[len(r.res.Limits)-1].Holes = d.Holes
	}
	return nil
}

// holdPIDs lets the job's leaf hold the number of processes. The group around
// it, which systemd shows, has one more for init.
func (r *resolver) holdPIDs(n int64) {
	r.group.limits = append(r.group.limits, cgroup.Setting{File: cgroup.PIDsMax, Value: strconv.FormatInt(n+1, 10)})
	s := cgroup.Setting{File: cgroup.PIDsMax, Value: strconv.FormatInt(n, 10)}
	r.group.job = append(r.group.job, s)
	r.limit(LimitPlan{Limit: "pids", Asked: s.Value, Mechanism: s.File, EnforcedBy: ByKernel, Written: s.Value})
}

// groupMemoryFloor is the least memory in which init sets a sandbox up, with
// what the kernel keeps for its namespaces and mounts.
const groupMemoryFloor = 4 << 20

// holdMemory lets the group hold the memory.
func (r *resolver) holdMemory(n policy.Size) error {
	if n < groupMemoryFloor {
		return newError(CodeLimit, fmt.Sprintf("memory %s is less than the sandbox itself needs", bytesText(int64(n))),
			"ask for at least "+bytesText(groupMemoryFloor))
	}
	r.kernel("memory", bytesText(int64(n)), cgroup.Setting{File: cgroup.MemoryMax, Value: strconv.FormatInt(int64(n), 10)})
	if r.p.Limits.OOMGroup {
		r.group.job = append(r.group.job, cgroup.Setting{File: cgroup.OOMGroup, Value: "1"})
	}
	if r.p.Limits.Swap == 0 && !r.group.noSwapLimit {
		r.kernel("swap", "0", cgroup.Setting{File: cgroup.SwapMax, Value: "0"})
	}
	return nil
}
