package policy

import (
	"fmt"
	"strings"
)

// CgroupTarget is where a job finds the control groups that it may divide.
const CgroupTarget = "/sys/fs/cgroup"

// delegation refuses what does not go with control groups of the job's own.
func (v *validator) delegation() {
	const key = "limits.delegate_cgroup"
	if !v.policy.Limits.DelegateCgroup || v.faulty(key) {
		return
	}
	if caps := v.policy.User.Capabilities; len(caps) > 0 {
		v.fault(key, fmt.Sprintf("a job that divides its control group has no capabilities, and user.capabilities keeps %s: "+
			"with one over files it could write what lies above its part", strings.Join(caps, ", ")))
	}
	for _, m := range v.policy.Filesystem.Mounts {
		if within(m.Target, CgroupTarget) || within(CgroupTarget, m.Target) {
			v.fault(mountKey(m.Target), fmt.Sprintf("%s is where limits.delegate_cgroup shows the job its control groups; give the mount another target", CgroupTarget))
		}
	}
}
