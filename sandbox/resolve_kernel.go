package sandbox

import (
	"strconv"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// askedLimit is a limit as the policy has it, safe to print. The device is the
// one it is about, if it is about one.
type askedLimit struct{ name, asked, device string }

// kernelOnly lists the limits of a policy that nothing but a cgroup can hold.
func kernelOnly(l *policy.Limits) []askedLimit {
	var list []askedLimit
	add := func(set bool, name, asked string) {
		if set {
			list = append(list, askedLimit{name: name, asked: asked})
		}
	}
	add(l.CPUWeight != 100 && l.CPUWeight > 0, "cpu_weight", strconv.FormatInt(int64(l.CPUWeight), 10))
	add(l.CPUSetMems != "", "cpuset_mems", l.CPUSetMems)
	add(l.MemoryLow > 0, "memory_low", bytesText(int64(l.MemoryLow)))
	add(l.MemoryHigh > 0, "memory_high", bytesText(int64(l.MemoryHigh)))
	add(l.Swap > 0, "swap", bytesText(int64(l.Swap)))
	for _, io := range l.IO {
		list = append(list, askedLimit{"io", SafeText(io.Device), io.Device})
	}
	return list
}

// limitKernelOnly refuses them where there is no cgroup. A device that no
// cgroup could limit either is refused for what it is.
func (r *resolver) limitKernelOnly() error {
	why, fix := "only a cgroup can hold it, and brig has none here", "leave it out"
	if r.host.Cgroups != nil {
		if d, _ := r.host.ChosenDriver(); d.Name == probe.DriverNone && d.Cause != "" {
			why += ": " + d.Cause
			if d.Fix != "" {
				fix = d.Fix + "; or leave it out"
			}
		}
	}
	for _, l := range kernelOnly(&r.p.Limits) {
		reason, mend := why, fix
		if d := r.host.Devices[l.device]; l.device != "" && d.Problem != "" {
			reason, mend = SafeText(d.Problem), SafeText(d.Fix)
		}
		if err := r.unheld(l.name, l.asked, reason, mend); err != nil {
			return err
		}
	}
	return nil
}
