package probe

import "github.com/brig-sandbox/brig/sandbox/plan"

// FactName names a Fact of a Host, as its JSON does.
type FactName string

// The facts that are found by trying.
const (
	UserNS     FactName = "user_namespace"
	NetNS      FactName = "network_namespace"
	CgroupNS   FactName = "cgroup_namespace"
	Proc       FactName = "procfs"
	Devpts     FactName = "devpts"
	Overlay    FactName = "overlay"
	TmpfsXattr FactName = "tmpfs_xattr"
	MountAttr  FactName = "mount_setattr"
	Seccomp    FactName = "seccomp"
	Landlock   FactName = "landlock"
	MemfdExec  FactName = "memfd_exec"
	IDMaps     FactName = "id_maps"
)

// Scope is a fact apart from FactNames: a host whose systemd makes no scope is
// no worse than one without systemd.
const Scope FactName = "cgroup_scope"

// FactNames lists all of them, in the order in which they rest on each other.
func FactNames() []FactName {
	return []FactName{
		MemfdExec, UserNS, IDMaps, NetNS, CgroupNS, MountAttr, Proc, Devpts, Overlay, TmpfsXattr, Seccomp, Landlock,
	}
}

// Fact returns a fact by its name, nil if there is none of that name. What it
// points to is the Host's own.
func (h *Host) Fact(name FactName) *Fact {
	switch name {
	case UserNS:
		return &h.UserNS
	case NetNS:
		return &h.NetNS
	case CgroupNS:
		return &h.CgroupNS
	case Proc:
		return &h.Proc
	case Devpts:
		return &h.Devpts
	case Overlay:
		return &h.Overlay
	case TmpfsXattr:
		return &h.TmpfsXattr
	case MountAttr:
		return &h.MountAttr
	case Seccomp:
		return &h.Seccomp
	case Landlock:
		return &h.Landlock
	case MemfdExec:
		return &h.MemfdExec
	case IDMaps:
		return &h.IDMaps
	case Scope:
		return &h.Scope
	}
	return nil
}

// factOf names the fact that an op rests on; "" for an op that fails for
// reasons of its own, such as an exec of a missing program.
func factOf(op *plan.Op) FactName {
	switch op.Kind {
	case plan.MapIDs, plan.PrivateMounts, plan.Scratch, plan.Pivot:
		return UserNS
	case plan.CgroupNamespace, plan.JobCgroup:
		return CgroupNS
	case plan.Open, plan.Protect, plan.ReadOnlyRoot:
		return MountAttr
	case plan.Overlay:
		return Overlay
	case plan.Root:
		if op.Flags.Has(plan.InSource) {
			return Overlay
		}
		return UserNS
	case plan.Proc:
		return Proc
	case plan.Devpts:
		return Devpts
	case plan.Loopback:
		return NetNS
	case plan.Landlock:
		return Landlock
	case plan.Seccomp:
		return Seccomp
	default:
		return ""
	}
}

// what is the mechanism behind the fact, as the start of a sentence.
func (n FactName) what() string {
	switch n {
	case UserNS:
		return "a user namespace"
	case NetNS:
		return "a network namespace"
	case CgroupNS:
		return "a cgroup namespace"
	case Proc:
		return "mounting a procfs"
	case Devpts:
		return "mounting a devpts"
	case Overlay:
		return "mounting an overlay"
	case TmpfsXattr:
		return "replacing a lower directory on a tmpfs"
	case MountAttr:
		return "making a mount read-only with all below it"
	case Seccomp:
		return "loading a seccomp filter"
	case Landlock:
		return "restricting a process with Landlock"
	case MemfdExec:
		return "executing init from memory"
	case IDMaps:
		return "mapping subordinate ids"
	case Scope:
		return "a scope from systemd"
	}
	return string(n)
}
