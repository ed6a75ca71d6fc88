package probe

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/userns"
)

// Explain says why a launch failed and what to do about it, where it failed
// for what the host is: err is what launch.Start or Sandbox.Receive returned.
// ok is false where the host is not to blame, or where nothing is known.
func Explain(err error, h *Host) (cause, fix string, ok bool) {
	name := Suspect(err)
	if name == "" {
		return "", "", false
	}
	if f := h.Fact(name); f.Tried && !f.OK {
		return f.Cause, f.Fix, true
	}
	cause, fix = explain(name, err, h)
	return cause, fix, true
}

// Suspect names the fact about the host that a failed launch speaks against;
// "" where it failed for reasons of the job or of the caller. Try tells
// whether the suspicion is right: an overlay, for one, also fails for what is
// mounted below its lower directory.
func Suspect(err error) FactName {
	var problem *userns.Problem
	var step *launch.StepError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &step):
		if isAboutSource(step) {
			return ""
		}
		return factOf(&step.Op)
	case errors.Is(err, cgroup.ErrManager):
		return Scope
	case errors.As(err, &problem):
		return IDMaps // newuidmap or newgidmap
	case errors.Is(err, launch.ErrClone):
		return UserNS
	case errors.Is(err, errMemfd):
		return MemfdExec
	}
	return ""
}

// isAboutSource tells whether a step failed for what is, or is no longer, at a
// path that the caller named.
func isAboutSource(step *launch.StepError) bool {
	for _, errno := range [...]unix.Errno{
		unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ESTALE, unix.ENAMETOOLONG, unix.ENOSPC,
	} {
		if step.Errno == errno {
			return true
		}
	}
	return false
}

// Again is for a caller whose launch failed: it tries the host and returns what
// it found if a second launch may then do better. Else the Host is nil, and the
// first error stands.
func Again(ctx context.Context, err error, h *Host, q Question) (*Host, error) {
	if Suspect(err) == "" {
		return nil, nil
	}
	tried, terr := Try(ctx, q)
	if terr != nil {
		return nil, terr
	}
	if h.UID == 0 { // a range that the caller has taken
		tried.SubIDs, tried.SubIDsProblem = h.SubIDs, h.SubIDsProblem
	}
	if !promises(err, h, tried) {
		return nil, nil
	}
	return tried, nil
}

// promises tells whether a launch that failed with err may do better now: what
// was tried differs from what h took for granted, so that the plan will, or a
// service manager that had no time has it again.
func promises(err error, h, tried *Host) bool {
	if Suspect(err) == Scope && tried.Scope.OK {
		return true
	}
	for _, name := range append(FactNames(), Scope) {
		if h.Fact(name).OK != tried.Fact(name).OK {
			return true
		}
	}
	return false
}

// explain says why a fact is false, given the error that showed it.
func explain(name FactName, err error, h *Host) (cause, fix string) {
	var problem *userns.Problem
	if errors.As(err, &problem) {
		return problem.Cause, problem.Fix
	}
	var group *cgroup.Error
	if errors.As(err, &group) {
		return group.Error(), group.Fix
	}
	if errors.Is(err, errMemfd) {
		return explainMemfd(err)
	}
	if errors.Is(err, errScript) {
		return noTmpfsXattr, "use a kernel from 6.6 on with CONFIG_TMPFS_XATTR=y"
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return name.what() + " did not work: " + err.Error(), ""
	}
	var step *launch.StepError
	switch isStep := errors.As(err, &step); {
	case name == UserNS && !isStep:
		return explainClone(errno, h)
	case name == UserNS || name == IDMaps:
		return diagnose(stepOf(step), errno)
	}
	for _, k := range known {
		if k.name == name && k.errno == errno {
			return k.cause, k.fix
		}
	}
	if errno == unix.EPERM || errno == unix.EACCES {
		cause, fix := diagnose(userns.StepUse, errno)
		return name.what() + " was refused: " + cause, fix
	}
	return fmt.Sprintf("%s failed: %v", name.what(), errno), lookIntoLog
}

const lookIntoLog = "look into the kernel's log: sudo dmesg | tail"

// stepOf is the step of a user namespace's making at which an op stands.
func stepOf(step *launch.StepError) userns.Step {
	if step == nil || step.Op.Kind == plan.MapIDs {
		return userns.StepMap
	}
	return userns.StepUse
}

// diagnose asks package userns, which knows sysctls, security modules and the
// filters of outer containers.
func diagnose(step userns.Step, errno unix.Errno) (cause, fix string) {
	facts, err := userns.ReadFacts(nil)
	if err != nil {
		return fmt.Sprintf("using a user namespace failed: %v, and reading why failed too: %v", errno, err), lookIntoLog
	}
	facts.Step, facts.Errno = step, errno
	p := userns.Diagnose(facts)
	return p.Cause, p.Fix
}

// explainClone tells a refused namespace from a refused execution of init:
// both come back from the same call.
func explainClone(errno unix.Errno, h *Host) (cause, fix string) {
	if f := h.MemfdExec; f.Tried && !f.OK {
		return f.Cause, f.Fix
	}
	if err := tryMemfd(); err != nil && !isTransient(err) {
		return explainMemfd(err)
	}
	return diagnose(userns.StepClone, errno)
}

func explainMemfd(err error) (cause, fix string) {
	return err.Error() + ": the sysctl vm.memfd_noexec or a security module forbids it",
		"sudo make install, which puts a copy of init at " + launch.InstalledInit + ", or sudo sysctl -w vm.memfd_noexec=0"
}

// known are the failures that mean one thing.
var known = [...]struct {
	name       FactName
	errno      unix.Errno
	cause, fix string
}{
	{
		NetNS, unix.ENOSPC, "this user has as many network namespaces as the sysctl user.max_net_namespaces allows",
		"echo user.max_net_namespaces=15000 | sudo tee /etc/sysctl.d/91-brig.conf && sudo sysctl -p /etc/sysctl.d/91-brig.conf",
	},
	{NetNS, unix.EINVAL, "the kernel is built without network namespaces", "use a kernel with CONFIG_NET_NS=y"},
	{
		CgroupNS, unix.ENOSPC, "this user has as many cgroup namespaces as the sysctl user.max_cgroup_namespaces allows",
		"echo user.max_cgroup_namespaces=15000 | sudo tee /etc/sysctl.d/91-brig.conf && sudo sysctl -p /etc/sysctl.d/91-brig.conf",
	},
	{CgroupNS, unix.EINVAL, "the kernel is built without control groups", "use a kernel with CONFIG_CGROUPS=y"},
	{
		Proc, unix.EPERM, "parts of /proc are masked here, as in a container, and the kernel mounts a fresh procfs only where all of it is seen",
		"start the container around brig with --security-opt systempaths=unconfined (Kubernetes: securityContext.procMount: Unmasked)",
	},
	{Devpts, unix.ENODEV, "the kernel is built without devpts", "use a kernel with CONFIG_UNIX98_PTYS=y"},
	{Overlay, unix.ENODEV, "the kernel has no overlayfs, or its module is not loaded", "sudo modprobe overlay && echo overlay | sudo tee /etc/modules-load.d/brig.conf"},
	{
		Overlay, unix.EINVAL, "this kernel's overlayfs does not take the option userxattr, or not the host's file system as a lower layer",
		"use a kernel from 5.11 on; sudo dmesg | tail says what overlayfs did not take",
	},
	{Overlay, unix.EPERM, "the kernel keeps overlayfs from user namespaces", "use a kernel from 5.11 on; sudo dmesg | tail says what denied it"},
	{TmpfsXattr, unix.EOPNOTSUPP, noTmpfsXattr, "use a kernel from 6.6 on with CONFIG_TMPFS_XATTR=y"},
	{MountAttr, unix.ENOSYS, "the kernel, or a filter around brig, does not have mount_setattr", "use a kernel from 5.12 on, and a filter that allows mount_setattr, open_tree and move_mount"},
	{MountAttr, unix.EPERM, "a filter or security module around brig denies open_tree or mount_setattr", "start the container around brig with --security-opt seccomp=unconfined, or with a profile that allows open_tree, move_mount and mount_setattr"},
	{Seccomp, unix.EINVAL, "the kernel is built without seccomp filters", "use a kernel with CONFIG_SECCOMP_FILTER=y"},
	{Seccomp, unix.ENOSYS, "the kernel, or a filter around brig, does not have seccomp", "use a kernel with CONFIG_SECCOMP_FILTER=y, and a filter that allows seccomp"},
	{Landlock, unix.EOPNOTSUPP, "Landlock is built in, but not switched on", "add landlock to the kernel's parameter lsm="},
	{Landlock, unix.ENOSYS, "the kernel, or a filter around brig, does not have Landlock", "use a kernel from 5.19 on with CONFIG_SECURITY_LANDLOCK=y"},
}

const noTmpfsXattr = "tmpfs has no user.* attributes here, without which an overlay on it cannot replace a directory"
