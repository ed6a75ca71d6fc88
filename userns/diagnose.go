package userns

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Diagnose says why a user namespace could not be had, or nil if Errno is 0.
// It is pure: it decides by the facts alone. The order is from what the facts
// prove to what they only suggest.
func Diagnose(f Facts) *Problem {
	if f.Errno == 0 {
		return nil
	}
	p := diagnose(f)
	p.Err = f.Errno
	return p
}

func diagnose(f Facts) *Problem {
	if f.Step == StepClone {
		switch {
		case !f.HasUserNS:
			return problemNoKernelSupport()
		case errors.Is(f.Errno, syscall.ENOSPC), errors.Is(f.Errno, syscall.EUSERS):
			return diagnoseLimit(f)
		case errors.Is(f.Errno, syscall.EAGAIN):
			return problemProcessLimit()
		case errors.Is(f.Errno, syscall.ENOMEM):
			return &Problem{Reason: OutOfMemory, Cause: "the kernel has no memory for a user namespace", Fix: "free memory, or raise memory.max of the cgroup around brig"}
		case errors.Is(f.Errno, syscall.ENOSYS) && f.Seccomp == 2:
			return problemSeccomp()
		}
	}
	if !errors.Is(f.Errno, syscall.EPERM) && !errors.Is(f.Errno, syscall.EACCES) {
		return problemUnexplained(f)
	}
	if f.Step == StepClone {
		if p := diagnoseClone(f); p != nil {
			return p
		}
	}
	return diagnoseModules(f)
}

// diagnoseLimit is for ENOSPC (EUSERS before 4.9), which create_user_ns gives
// for the sysctl and for the 33rd level alike.
func diagnoseLimit(f Facts) *Problem {
	keep := "echo user.max_user_namespaces=%d | sudo tee /etc/sysctl.d/90-brig.conf && sudo sysctl -p /etc/sysctl.d/90-brig.conf"
	switch {
	case f.MaxUserNamespaces == 0:
		return &Problem{
			Reason: MaxUserNamespacesZero,
			Cause:  "user namespaces are switched off by the sysctl user.max_user_namespaces=0",
			Fix:    fmt.Sprintf(keep, 15000),
		}
	case len(f.UIDMap) > 0 && !isIdentity(f.UIDMap):
		return &Problem{
			Reason: NestingDepth,
			Cause:  "brig runs in a nested user namespace, and either this is the deepest level (33) or user.max_user_namespaces of an outer one is used up",
			Fix:    "start brig outside of the innermost container, or raise user.max_user_namespaces on the host",
		}
	}
	return &Problem{
		Reason: NamespaceLimit,
		Cause:  fmt.Sprintf("this user has as many user namespaces as user.max_user_namespaces=%d allows", f.MaxUserNamespaces),
		Fix:    fmt.Sprintf("end programs that hold some (lsns -t user), or "+keep, 2*max(f.MaxUserNamespaces, 7500)),
	}
}

// diagnoseClone knows what makes the kernel's own create_user_ns refuse.
func diagnoseClone(f Facts) *Problem {
	switch {
	case f.UnprivilegedClone == 0 && !f.SysAdmin:
		return &Problem{
			Reason: UnprivilegedOff,
			Cause:  "user namespaces are kept from ordinary users by the sysctl kernel.unprivileged_userns_clone=0",
			Fix:    "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/90-brig.conf && sudo sysctl -p /etc/sysctl.d/90-brig.conf",
		}
	case f.Chrooted:
		return &Problem{
			Reason: Chrooted,
			Cause:  "brig runs in a chroot, where the kernel allows no user namespace",
			Fix:    "start brig outside of the chroot, or enter the directory with pivot_root (unshare --mount, systemd-nspawn, bwrap) instead",
		}
	// A map that nobody has written yet is empty and has no ids.
	case !f.UIDMap.HasInside(f.UID):
		return problemUnmapped("uid", f.UID)
	case !f.GIDMap.HasInside(f.GID):
		return problemUnmapped("gid", f.GID)
	}
	return nil
}

// diagnoseModules is for a refusal by a security module or a filter. At the
// clone AppArmor and SELinux answer EACCES and filters usually EPERM. With
// Ubuntu's restriction the clone may work, but into a profile without
// capabilities, so that it is the maps or the mounts that fail.
func diagnoseModules(f Facts) *Problem {
	filtered := f.Seccomp == 2 && errors.Is(f.Errno, syscall.EPERM) && f.Step != StepMap
	free := f.Label == "" || f.Label == "unconfined"
	switch {
	case f.AppArmorRestrict == 1 && !f.SysAdmin && !filtered &&
		(free || strings.HasPrefix(f.Label, "unprivileged_userns")):
		return problemAppArmor(f.Executable)
	case f.SELinuxEnforcing && !filtered:
		return problemSELinux(f)
	case f.AppArmorRestrict != Absent && !free && !filtered && !strings.HasSuffix(f.Label, "(complain)"):
		return &Problem{
			Reason: AppArmorProfile,
			Cause:  fmt.Sprintf("the AppArmor profile %q that brig runs under does not allow user namespaces", f.Label),
			Fix:    "add the rule \"userns,\" and the capabilities setuid, setgid and sys_admin to that profile and load it (apparmor_parser -r); for a container: --security-opt apparmor=unconfined",
		}
	case filtered:
		return problemSeccomp()
	}
	return problemUnexplained(f)
}

func problemNoKernelSupport() *Problem {
	return &Problem{
		Reason: NoKernelSupport,
		Cause:  "the kernel is built without user namespaces",
		Fix:    "use a kernel with CONFIG_USER_NS=y",
	}
}

func problemProcessLimit() *Problem {
	return &Problem{
		Reason: ProcessLimit,
		Cause:  "no further process may be started",
		Fix:    "end processes of this user, raise ulimit -u, or raise pids.max of the cgroup around brig (--pids-limit of a container, TasksMax= of a unit)",
	}
}

func problemUnmapped(kind string, id uint32) *Problem {
	return &Problem{
		Reason: CallerUnmapped,
		Cause:  fmt.Sprintf("the caller's %s (shown as %d) does not exist in its own user namespace", kind, id),
		Fix:    "write the maps of the outer namespace before brig starts in it, and start brig with a user and group that they contain",
	}
}

func problemSeccomp() *Problem {
	return &Problem{
		Reason: OuterSeccomp,
		Cause:  "a seccomp filter around brig denies user namespaces, as the default one of Docker and Kubernetes does",
		Fix:    "start the container with --security-opt seccomp=unconfined, or with a profile that allows clone, clone3, unshare, mount, umount2, pivot_root and setns (Kubernetes: securityContext.seccompProfile.type: Unconfined; systemd: remove RestrictNamespaces= and SystemCallFilter=)",
	}
}

// problemSELinux: the class user_namespace exists from kernel 6.1 on; the
// policy has no boolean of its own for it, so the domain needs a rule.
func problemSELinux(f Facts) *Problem {
	domain := "the caller's domain"
	if parts := strings.Split(f.Label, ":"); len(parts) > 2 {
		domain = parts[2]
	}
	return &Problem{
		Reason: SELinuxDenies,
		Cause:  fmt.Sprintf("SELinux does not let %s create user namespaces", domain),
		Fix:    "see what was denied with sudo ausearch -m avc -ts recent | grep user_namespace, then allow it: sudo ausearch -m avc -ts recent | audit2allow -M brig && sudo semodule -i brig.pp",
	}
}

func problemAppArmor(executable string) *Problem {
	return &Problem{
		Reason: AppArmorRestricts,
		Cause:  "AppArmor keeps user namespaces from programs without a profile (sysctl kernel.apparmor_restrict_unprivileged_userns=1)",
		Fix: "give brig a profile:\nsudo tee /etc/apparmor.d/brig >/dev/null <<'EOF' && sudo apparmor_parser -r /etc/apparmor.d/brig\n" +
			AppArmorProfileText(executable) + "EOF\n" +
			"or switch the restriction off for every program: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
	}
}

// AppArmorProfileText returns a profile that lets the program at the given
// absolute path create user namespaces and otherwise confines nothing.
func AppArmorProfileText(executable string) string {
	if executable == "" {
		executable = "/usr/bin/brig"
	}
	// In a profile these characters form patterns.
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`,
		`{`, `\{`, `}`, `\}`, `^`, `\^`, `,`, `\,`, `@`, `\@`).Replace(executable)
	return "abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile brig \"" + quoted + "\" flags=(unconfined) {\n  userns,\n\n  include if exists <local/brig>\n}\n"
}

// problemUnexplained names what the facts leave open, rather than guess.
func problemUnexplained(f Facts) *Problem {
	doing := map[Step]string{StepClone: "creating a user namespace", StepMap: "writing its id maps", StepUse: "using it"}[f.Step]
	if doing == "" {
		doing = "using a user namespace"
	}
	return &Problem{
		Reason: Unexplained,
		Cause:  doing + " failed for a reason that no setting shows",
		Fix:    "look into the kernel's log (sudo dmesg | tail) for a denial by a security module or BPF, and check that brig does not run in a chroot or under a filter of its caller",
	}
}
