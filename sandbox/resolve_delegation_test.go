package sandbox_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// divided is a policy whose job may divide its control group.
func divided(t *testing.T, name string) *policy.Policy {
	p := shipped(t, name)
	p.Limits.DelegateCgroup = true
	return p
}

// The golden plan of a job that may divide its control group.
func TestGoldenDelegation(t *testing.T) {
	for _, host := range []string{"full", "no-cgroup", "kernel-5.14"} {
		t.Run(host, func(t *testing.T) {
			golden := filepath.Join("testdata", "delegation", host+".plan")
			compareGolden(t, golden, resolved(t, specOf(divided(t, "strict"), "make", "test"), recorded(t, host)))
		})
	}
}

// Off by default: no shipped policy shows a job any control group.
func TestNoDelegationByDefault(t *testing.T) {
	for _, name := range shippedNames(t) {
		res, err := sandbox.Resolve(specOf(shipped(t, name), "true"), recorded(t, "full"))
		if err != nil {
			t.Fatal(err)
		}
		if op := res.Plan.Find(plan.CgroupMount); op != nil {
			t.Errorf("%s: the plan has %s", name, op)
		}
	}
}

func TestDelegationRefused(t *testing.T) {
	const what = "limits.delegate_cgroup: the job cannot be given control groups to divide: "
	for _, tt := range []struct {
		name  string
		spoil func(*policy.Policy, *probe.Host, *sandbox.Spec)
		want  string
	}{
		{"isolated", func(p *policy.Policy, _ *probe.Host, _ *sandbox.Spec) { p.User.Map = policy.MapIsolated }, "with map isolated no id of the sandbox owns them"},
		{"capabilities", func(p *policy.Policy, _ *probe.Host, _ *sandbox.Spec) { p.User.Capabilities = []string{"CAP_CHOWN"} }, "it keeps capabilities"},
		{"no namespace", func(_ *policy.Policy, h *probe.Host, _ *sandbox.Spec) {
			h.CgroupNS = probe.Fact{Cause: "no such namespace", Fix: "x"}
		}, "no such namespace"},
		{"no group", func(_ *policy.Policy, _ *probe.Host, s *sandbox.Spec) { s.CgroupManager = sandbox.CgroupNone }, `the cgroup manager is "none"`},
		{"best effort", func(p *policy.Policy, _ *probe.Host, s *sandbox.Spec) {
			s.CgroupManager, p.Enforcement.Limits = sandbox.CgroupNone, policy.BestEffort
		}, `the cgroup manager is "none"`},
	} {
		p, h := divided(t, "strict"), recorded(t, "full")
		spec := specOf(p, "true")
		tt.spoil(p, h, spec)
		if _, err := sandbox.Resolve(spec, h); err == nil || !strings.HasPrefix(err.Error(), what+tt.want) {
			t.Errorf("%s: %v, want %s%s", tt.name, err, what, tt.want)
		}
	}
}

// A group is made for it even where it holds no limit, and the job can write it.
func TestDelegationAlone(t *testing.T) {
	p := divided(t, "strict")
	p.Filesystem.ReadOnly = true
	res, err := sandbox.Resolve(specOf(p, "true"), withControllers(t))
	if err != nil {
		t.Fatal(err)
	}
	group, mount := res.Plan.Find(plan.Cgroup), res.Plan.Find(plan.CgroupMount)
	if group == nil || !group.Flags.Has(plan.Delegated) || len(group.Names)+len(group.Write) > 0 {
		t.Errorf("the group is %v", group)
	}
	if mount == nil || mount.Target != "/sys/fs/cgroup" {
		t.Errorf("the mount is %v", mount)
	}
	if l := res.Plan.Find(plan.Landlock); l == nil || !slices.Contains(l.Write, "/sys/fs/cgroup") {
		t.Errorf("Landlock: %v", l)
	}
}
