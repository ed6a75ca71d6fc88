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
}
