package plan

import (
	"slices"
	"testing"
)

// delegated is a plan with a control group that the job may divide.
func delegated() *Plan {
	p := grouped()
	p.Find(Cgroup).Flags = Delegated
	p.Find(Capabilities).Names = nil
	p.Ops = slices.Insert(p.Ops, p.index(Hand), Op{Kind: CgroupMount, Target: "/sys/fs/cgroup", Flags: NoSuid | NoDev | NoExec})
	return p
}

// Each case opens one way out of the part of the tree that the job is given.
func TestCheckDelegation(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*Plan)
		want  string
	}{
		{"only a mount", func(p *Plan) { p.Find(Cgroup).Flags = 0 }, "invalid plan: control groups are mounted that are not the job's to divide"},
		{"no mount", drop(CgroupMount), "invalid plan: a delegated control group is not mounted"},
		{"the host's root", func(p *Plan) { p.Find(JobCgroup).Data = "" }, "invalid plan: a delegated control group without a cgroup namespace"},
		{"flags", func(p *Plan) { p.Find(CgroupMount).Flags = NoSuid | NoDev }, "invalid plan: the mount of control groups is not nosuid, nodev and noexec"},
		{"capabilities", func(p *Plan) { p.Find(Capabilities).Names = []string{"CAP_DAC_OVERRIDE"} }, "invalid plan: a delegated control group and a job with capabilities"},
		{"other ids", func(p *Plan) { p.IDs.Map = "isolated" }, "invalid plan: a delegated control group that the job's ids do not own"},
		{"relative", func(p *Plan) { p.Find(CgroupMount).Target = "sys" }, `invalid plan: op 39 (cgroup-mount): target "sys" is not an absolute, clean path`},
		{"before the namespace", func(p *Plan) {
			i := p.index(CgroupMount)
			p.Ops[i], p.Ops[i-1] = p.Ops[i-1], p.Ops[i]
		}, "unsafe order: op 39: job-cgroup must come before cgroup-mount"},
		{"twice", func(p *Plan) { p.Ops = append(p.Ops[:39:39], p.Ops[38:]...) }, "invalid plan: 2 ops cgroup-mount, there may be one"},
	} {
		p := delegated()
		tt.spoil(p)
		if err := Check(p); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	p := delegated()
	p.IDs.Map, p.IDs.By = "isolated", ByParent // called by root, who gives the group to the job's id
	if err := Check(p); err != nil {
		t.Error(err)
	}
}
