package sandbox

import (
	"math"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// needsGroup tells whether a policy sets a limit that nothing but a control
// group can hold, so that a host without one has to explain itself.
func needsGroup(l *policy.Limits) bool {
	return l.CPUWeight != 100 || l.CPUSetMems != "" || l.MemoryLow > 0 || l.MemoryHigh > 0 || l.Swap > 0 || len(l.IO) > 0 || l.DelegateCgroup ||
		l.CPUs > 0 && l.CPUs != math.Trunc(l.CPUs)
}

// explainNoGroup says why the host's facts leave no driver, or not the one that
// was asked for by name; ok is false where they do not tell.
func (r *resolver) explainNoGroup(want string) (why, fix string, ok bool) {
	c := r.host.Cgroups
	if c == nil || c.Session == (probe.Session{}) {
		return "", "", false
	}
	d, _ := r.host.ChosenDriver()
	for _, driver := range r.host.CgroupDrivers() {
		if string(driver.Name) == want {
			d = driver
		}
	}
	if fix = SafeText(d.Fix); fix == "" {
		fix = "leave --cgroup-manager out, and brig takes what is there"
	}
	return SafeText(d.Cause), fix, d.Cause != ""
}

// lacking says why the kernel cannot hold a limit of the controller here.
func (r *resolver) lacking(controller string) (why, fix string) {
	g, c := &r.group, r.host.Cgroups
	switch {
	case g.driver == "":
		return "only a control group can hold it, and none can be made: " + g.why, g.fix
	case c.Session != probe.Session{}:
		why, fix = r.host.Undelegated(g.driver, controller)
		return SafeText(why), SafeText(fix)
	}
	fix = "let an administrator read and run what brig doctor --fix-script prints"
	if g.driver == cgroup.Systemd && r.host.UID != 0 {
		fix += ", which writes " + probe.DelegateDropIn
	}
	return "the controller " + controller + " is not delegated to the caller", fix
}
