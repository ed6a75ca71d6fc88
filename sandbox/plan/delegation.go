package plan

import "errors"

// checkDelegation insists on what keeps a job that may divide control groups in
// its own part of the tree. What it is given is mounted from within its cgroup
// namespace, so that nothing above is to be named. Its ids must be those that
// own its part, and it must have no capability: one over files would open
// everything there that its id owns outside.
func (p *Plan) checkDelegation() error {
	group, mount := p.Find(Cgroup), p.Find(CgroupMount)
	delegated := group != nil && group.Flags.Has(Delegated)
	switch {
	case !delegated && mount == nil:
		return nil
	case !delegated:
		return errors.New("control groups are mounted that are not the job's to divide")
	case mount == nil:
		return errors.New("a delegated control group is not mounted")
	case p.Find(JobCgroup).Data != CgroupRoot:
		return errors.New("a delegated control group without a cgroup namespace")
	case mount.Flags != NoSuid|NoDev|NoExec:
		return errors.New("the mount of control groups is not nosuid, nodev and noexec")
	case len(p.Find(Capabilities).Names) > 0:
		return errors.New("a delegated control group and a job with capabilities")
	case p.IDs.Map == "isolated" && p.IDs.By != ByParent:
		return errors.New("a delegated control group that the job's ids do not own")
	}
	return nil
}
