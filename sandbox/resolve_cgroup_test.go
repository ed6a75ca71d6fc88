package sandbox_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// everyLimit is a policy with all limits that a control group can hold.
func everyLimit(t *testing.T) *policy.Policy {
	p := shipped(t, "strict")
	l := &p.Limits
	l.CPUs, l.CPUWeight, l.CPUSet, l.CPUSetMems = 1.5, 50, "0-1", "0"
	l.Memory, l.Swap, l.MemoryLow, l.MemoryHigh, l.PIDs = 64<<20, 1<<20, 1<<20, 48<<20, 16
	l.IO = []policy.IOLimit{{Device: "/", ReadBPS: 1 << 20, WriteBPS: 2 << 20, ReadIOPS: 3, WriteIOPS: 4}}
	return p
}

// withControllers is the recorded host with a manager that has them.
func withControllers(t *testing.T, names ...string) *probe.Host {
	h := recorded(t, "full")
	h.Cgroups.ManagerControllers = names
	h.Devices = map[string]probe.Device{"/": {Major: 8, Minor: 16, Name: "sdb"}}
	return h
}

// Every limit has its file, and the plan says what is written there.
func TestResolveGroup(t *testing.T) {
	res, err := sandbox.Resolve(specOf(everyLimit(t), "true"), withControllers(t, "cpu", "cpuset", "io", "memory", "pids"))
	if err != nil {
		t.Fatal(err)
	}
	op := res.Plan.Find(plan.Cgroup)
	if op == nil || op.Data != "systemd" || op.Source != plan.Slice {
		t.Fatalf("the plan makes %v", op)
	}
	want := []string{
		"cpu.max=150000 100000", "cpuset.cpus=0-1", "memory.max=67108864", "pids.max=17", "cpu.weight=50", "cpuset.mems=0",
		"memory.low=1048576", "memory.high=50331648", "memory.swap.max=1048576", "io.max=8:16 rbps=1048576 wbps=2097152 riops=3 wiops=4",
	}
	if !slices.Equal(op.Names, want) {
		t.Errorf("the group has %q, want %q", op.Names, want)
	}
	if want := []string{"memory.oom.group=1", "pids.max=16"}; !slices.Equal(op.Write, want) {
		t.Errorf("the job's leaf has %q, want %q", op.Write, want)
	}
	for _, k := range []plan.Kind{plan.Affinity, plan.CgroupNamespace} {
		if op := res.Plan.Find(k); op != nil {
			t.Errorf("the plan still has %s", op)
		}
	}
	for i := range res.Plan.Ops {
		if op := &res.Plan.Ops[i]; op.Kind == plan.Rlimit && (op.Data == "nproc" || op.Data == "data") {
			t.Errorf("%s would hide what the group counts", op)
		}
	}
	if res.FilterOptions.SupervisedMemory || slices.Contains(res.Filter.Deny, "sched_setaffinity") {
		t.Error("the filter makes up for a weaker mechanism that is not used")
	}
}

// Each limit falls back by itself.
func TestResolveFallsBackPerLimit(t *testing.T) {
	held := func(res *sandbox.Resolution) map[string]string {
		m := map[string]string{}
		for _, l := range res.Limits {
			m[l.Limit] = l.Mechanism + " " + string(l.EnforcedBy)
		}
		return m
	}
	p := shipped(t, "judge")
	for _, tt := range []struct {
		controllers string
		want        map[string]string
	}{
		{"cpu memory pids", map[string]string{"cpus": "cpu.max kernel", "memory": "memory.max kernel", "pids": "pids.max kernel", "cpu_time": "cpu.stat+RLIMIT_CPU supervised"}},
		{"memory", map[string]string{"cpus": "sched_setaffinity kernel", "memory": "memory.max kernel", "pids": "RLIMIT_NPROC kernel", "cpu_time": "cpu.stat+RLIMIT_CPU supervised"}},
		{"pids", map[string]string{"cpus": "sched_setaffinity kernel", "memory": "poll supervised", "swap": "poll supervised", "pids": "pids.max kernel"}},
		{"", map[string]string{"cpus": "sched_setaffinity kernel", "memory": "poll supervised", "pids": "RLIMIT_NPROC kernel"}},
	} {
		res, err := sandbox.Resolve(specOf(p, "./a.out"), withControllers(t, strings.Fields(tt.controllers)...))
		if err != nil {
			t.Fatal(err)
		}
		got := held(res)
		for limit, want := range tt.want {
			if got[limit] != want {
				t.Errorf("with %q: %s is held by %s, want %s", tt.controllers, limit, got[limit], want)
			}
		}
	}
}

// A quota is the group's and a set of CPUs the affinity's, where there is only one
// controller of the two; each is written as it is.
func TestResolveQuotaBesideAffinity(t *testing.T) {
	p := shipped(t, "judge")
	p.Limits.CPUs, p.Limits.CPUSet = 1.5, "2-3"
	res, err := sandbox.Resolve(specOf(p, "./a.out"), withControllers(t, "cpu", "memory", "pids"))
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for _, l := range res.Limits {
		written[l.Limit] = l.Mechanism + " " + l.Written
	}
	if written["cpus"] != "cpu.max 150000 100000" || written["cpuset"] != "sched_setaffinity 2-3" {
		t.Errorf("cpus %q, cpuset %q", written["cpus"], written["cpuset"])
	}
	if op := res.Plan.Find(plan.Affinity); op == nil || op.Data != "2-3" {
		t.Errorf("affinity: %v", op)
	}
	if !slices.Contains(res.Filter.Deny, "sched_setaffinity") {
		t.Error("the job may widen its mask")
	}
}

// A set that is all the host has now is set all the same: the host may have more
// later.
func TestResolveAllCPUs(t *testing.T) {
	p, h := shipped(t, "judge"), withControllers(t, "cpu", "memory", "pids")
	p.Limits.CPUSet = fmt.Sprintf("%d-%d", h.CPUs[0], h.CPUs[len(h.CPUs)-1])
	res, err := sandbox.Resolve(specOf(p, "./a.out"), h)
	if err != nil {
		t.Fatal(err)
	}
	if op := res.Plan.Find(plan.Affinity); op == nil || op.Data != p.Limits.CPUSet {
		t.Errorf("affinity: %v, want %s", op, p.Limits.CPUSet)
	}
	if !slices.Contains(res.Filter.Deny, "sched_setaffinity") {
		t.Error("the job may widen its mask")
	}
}

// Who makes the group: what is the caller's own comes before asking, and a
// manager by name is taken or refused.
func TestResolveManager(t *testing.T) {
	own := func(h *probe.Host) {
		h.Cgroups.Parent, h.Cgroups.ParentControllers = "/sys/fs/cgroup/mine", []string{"memory", "pids"}
		h.Cgroups.Certain = true
	}
	for _, tt := range []struct {
		name, manager string
		change        func(*probe.Host)
		want          string // driver, or "" for none
	}{
		{"systemd", "", func(*probe.Host) {}, "systemd"},
		{"own tree", "", own, "cgroupfs"},
		{"own tree, but systemd by name", "systemd", own, "systemd"},
		{"own tree by name", "cgroupfs", own, "cgroupfs"},
		{"perhaps another's tree", "", func(h *probe.Host) { own(h); h.Cgroups.Certain = false }, "systemd"},
		{"perhaps another's tree, by name", "cgroupfs", func(h *probe.Host) { own(h); h.Cgroups.Certain = false }, "cgroupfs"},
		{"a manager that makes no scopes", "", func(h *probe.Host) { h.Scope = probe.Fact{Cause: "it hangs", Fix: "wake it"} }, ""},
		{"none", "none", own, ""},
		{"version 1", "", func(h *probe.Host) { h.Cgroups.Layout = "hybrid" }, ""},
	} {
		h := recorded(t, "full")
		tt.change(h)
		spec := specOf(shipped(t, "judge"), "./a.out")
		spec.CgroupManager = tt.manager
		res, err := sandbox.Resolve(spec, h)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := ""
		if op := res.Plan.Find(plan.Cgroup); op != nil {
			got = op.Data
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
