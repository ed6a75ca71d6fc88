package sandbox

import (
	"fmt"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// resolveDelegation gives the job a part of the tree of control groups, where
// the policy says so. It is no limit that something weaker could stand in for.
func (r *resolver) resolveDelegation() error {
	if !r.p.Limits.DelegateCgroup {
		return nil
	}
	const what = "limits.delegate_cgroup: the job cannot be given control groups to divide: "
	switch ids := &r.plan.IDs; {
	case r.group.driver == "":
		return newError(CodeCgroup, what+r.group.why, r.group.fix)
	case !r.host.CgroupNS.OK:
		return newError(CodeCgroup, what+r.host.CgroupNS.Cause, r.host.CgroupNS.Fix)
	case ids.Map == string(policy.MapIsolated) && ids.By != plan.ByParent:
		return newError(CodeCgroup, what+"with map isolated no id of the sandbox owns them: they are the caller's, whose own id is kept out",
			"use --userns keep-id or single, or run brig as root, who can give them away")
	case len(r.p.User.Capabilities) > 0:
		return newError(CodeCgroup, what+"it keeps capabilities, with which it could write what lies above them", "keep none")
	}
	r.group.delegated = true
	r.mkdir(policy.CgroupTarget, 0o755, false)
	r.writable(policy.CgroupTarget)
	r.note("the job may divide its control group, at %s: its limits are on groups above, which it cannot name", policy.CgroupTarget)
	return nil
}

// delegateTo is who owns the job's own part: the caller, or where that is root,
// the job's ids as the host knows them.
func delegateTo(p *plan.Plan) (*cgroup.Delegation, error) {
	if p.IDs.By != plan.ByParent {
		return &cgroup.Delegation{}, nil
	}
	job := p.Find(plan.JobIDs)
	uid, ok := outside(p.IDs.UID, job.UID)
	gid, gok := outside(p.IDs.GID, job.GID)
	if !ok || !gok {
		return nil, fmt.Errorf("the job's ids %d:%d are not mapped", job.UID, job.GID)
	}
	return &cgroup.Delegation{Owner: &cgroup.Owner{UID: uid, GID: gid}}, nil
}

// outside is the id that the host knows an id inside by.
func outside(list []plan.Mapping, inside uint32) (uint32, bool) {
	for _, m := range list {
		if inside >= m.Inside && inside-m.Inside < m.Count {
			return m.Outside + inside - m.Inside, true
		}
	}
	return 0, false
}
