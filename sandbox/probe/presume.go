package probe

import "fmt"

// presume sets the facts that would have to be tried to what the kernel's
// version promises. A launch that shows otherwise names the fact; see Disproved.
func (h *Host) presume() {
	yes := Fact{OK: true}
	h.UserNS, h.NetNS, h.CgroupNS, h.Proc, h.Devpts, h.Seccomp = yes, yes, yes, yes, yes, yes
	h.MemfdExec, h.IDMaps = yes, yes
	// ovl: "allow unprivileged mounts", with the mount option userxattr.
	h.Overlay = h.since(5, 11, "overlayfs in a user namespace")
	h.MountAttr = h.since(5, 12, "mount_setattr")
	// tmpfs: "add support for user xattrs".
	h.TmpfsXattr = h.since(6, 6, "user.* attributes on tmpfs")
	h.Landlock = h.presumeLandlock()
	h.Scope = h.presumeScope()
}

// presumeScope trusts a manager that has a socket.
func (h *Host) presumeScope() Fact {
	switch {
	case h.Cgroups != nil && h.Cgroups.Manager != "":
		return Fact{OK: true}
	case h.Cgroups != nil && h.Cgroups.Session != Session{}:
		f := h.systemdDriver().Fact
		f.Tried = true
		return f
	}
	return Fact{
		Tried: true,
		Cause: "the caller has no systemd to ask: there is none, or no session of the caller's has started one",
		Fix:   "log in as that user (su starts no session), or let its systemd run always: sudo loginctl enable-linger USER",
	}
}

// since is the fact that came with a version of the kernel.
func (h *Host) since(major, minor int, what string) Fact {
	if h.Kernel.AtLeast(major, minor) {
		return Fact{OK: true}
	}
	return Fact{
		Cause: fmt.Sprintf("Linux has %s from %d.%d on, this is %s", what, major, minor, h.Kernel.Release),
		Fix:   fmt.Sprintf("use a kernel from %d.%d on", major, minor),
	}
}

// presumeLandlock judges by the version that the kernel told. With version 1
// nothing could be renamed from one directory into another, which breaks
// compilers.
func (h *Host) presumeLandlock() Fact {
	switch {
	case h.LandlockABI >= 2:
		return Fact{OK: true}
	case h.LandlockABI == 1:
		return Fact{
			Tried: true,
			Cause: "the kernel's Landlock is version 1, which forbids every rename across directories",
			Fix:   "use a kernel from 5.19 on",
		}
	}
	return Fact{
		Tried: true,
		Cause: "the kernel has no Landlock, or it is not switched on",
		Fix:   "use a kernel from 5.19 on with CONFIG_SECURITY_LANDLOCK=y, and add landlock to the kernel's parameter lsm=",
	}
}
