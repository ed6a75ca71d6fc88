package probe

import (
	"fmt"
	"slices"
	"strings"
)

// CgroupDriver is a way in which a sandbox gets a control group of its own.
type CgroupDriver struct {
	Name DriverName `json:"name"`
	// Fact says whether it can be used. A cause without a fix is about a host
	// that has no use for this driver.
	Fact
	// Controllers are those that such a group can have, of the useful ones.
	Controllers []string `json:"controllers,omitempty"`
}

// DriverName names a driver, as --cgroup-manager does.
type DriverName string

// The drivers.
const (
	DriverSystemd  DriverName = "systemd"  // a scope of the service manager's
	DriverCgroupfs DriverName = "cgroupfs" // directories below the caller's own group
	DriverNone     DriverName = "none"
)

// DelegateDropIn is where an administrator has systemd hand more controllers to
// users, and Delegate what the line in it says: every controller that brig has
// a use for.
const (
	DelegateDropIn = "/etc/systemd/system/user@.service.d/delegate.conf"
	Delegate       = "cpu cpuset io memory pids"
)

// UsefulControllers are those of Delegate.
func UsefulControllers() []string { return strings.Fields(Delegate) }

// useful picks them out of a group's controllers.
func useful(controllers []string) []string {
	return slices.DeleteFunc(UsefulControllers(), func(c string) bool { return !slices.Contains(controllers, c) })
}

// CgroupDrivers are the host's drivers: what was found by trying where it was
// tried (Scope), else presumed.
func (h *Host) CgroupDrivers() []CgroupDriver {
	if h.Cgroups == nil {
		return nil
	}
	if len(h.Cgroups.Drivers) > 0 {
		return h.Cgroups.Drivers
	}
	return []CgroupDriver{h.systemdDriver(), h.cgroupfsDriver()}
}

// ChosenDriver is the driver that serves a sandbox here, and why. A part of the
// tree that is the caller's for certain needs no manager to be asked, and comes
// first; any other is divided only where the caller asks for it.
func (h *Host) ChosenDriver() (driver CgroupDriver, why string) {
	drivers := h.CgroupDrivers()
	for _, d := range drivers {
		if d.Name == DriverCgroupfs && d.OK && h.Cgroups.Certain {
			return d, h.Cgroups.Parent + " is the caller's to divide, and no manager has to be asked"
		}
	}
	for _, d := range drivers {
		if d.Name == DriverSystemd && d.OK {
			return d, "the service manager gives each sandbox a scope"
		}
	}
	cause, fix := h.noCgroup()
	return CgroupDriver{Name: DriverNone, Fact: Fact{Cause: cause, Fix: fix}}, "neither of the two can be used"
}

// MissingControllers are those of the wanted that the driver's groups cannot
// have, in their order.
func (d CgroupDriver) MissingControllers(wanted ...string) []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(c string) bool { return slices.Contains(d.Controllers, c) })
}

func (h *Host) systemdDriver() CgroupDriver {
	c := h.Cgroups
	d := CgroupDriver{Name: DriverSystemd}
	switch {
	case c.Manager != "":
		if d.Fact = h.Scope; d.OK {
			d.OK = false
			d.give(h, c.ManagerControllers)
		}
	case !c.Session.Systemd:
		d.Cause = "systemd does not run here"
	case c.Layout != "v2":
		d.Cause, d.Fix = c.version1()
	default:
		d.Cause, d.Fix = h.noManager()
	}
	return d
}

// give makes the driver one of groups with these controllers. Groups without
// any could be frozen and killed, but hold no limit.
func (d *CgroupDriver) give(h *Host, controllers []string) {
	d.Controllers = useful(controllers)
	switch {
	case len(d.Controllers) > 0:
		d.OK = true
	case h.Cgroups.Layout != "v2":
		d.Cause, d.Fix = h.Cgroups.version1()
	default:
		d.Cause, d.Fix = h.Undelegated(string(d.Name), UsefulControllers()...)
	}
}

func (h *Host) cgroupfsDriver() CgroupDriver {
	c := h.Cgroups
	d := CgroupDriver{Name: DriverCgroupfs}
	switch {
	case c.Problem != "":
		d.Cause, d.Fix = c.Problem, "mount the kernel's own /proc and /sys"
	case c.Layout == "none":
		d.Cause, d.Fix = "there are no control groups to be seen", "mount them: sudo mount -t cgroup2 none /sys/fs/cgroup; or use a kernel with CONFIG_CGROUPS=y"
	case c.Layout != "v2" && len(useful(c.Controllers)) == 0:
		d.Cause, d.Fix = c.version1()
	case c.Parent != "":
		d.give(h, c.ParentControllers)
	case c.Dir == "":
		d.Cause, d.Fix = "the control group of this process, "+c.Own+", is not to be seen below any mount", "mount them where they are expected: sudo mount -t cgroup2 none /sys/fs/cgroup"
	case c.Container != "":
		d.Cause, d.Fix = c.inContainer()
	case c.Manager != "":
		d.Cause = "the control group of this process, " + c.Dir + ", is not the caller's to divide"
		d.Fix = "none is needed where the driver systemd works; else: systemd-run --user --scope -p Delegate=yes brig run ..."
	case c.Session.Systemd:
		d.Cause = "the control group of this process, " + c.Dir + ", is not the caller's to divide"
		d.Fix = "start brig in a service with Delegate=yes and User=, or mend the driver systemd"
	default:
		d.Cause = "the control group of this process, " + c.Dir + ", is not the caller's to divide"
		d.Fix = fmt.Sprintf("have root make one for you, and start brig in it: sudo mkdir /sys/fs/cgroup/brig && "+
			"sudo chown %d /sys/fs/cgroup/brig /sys/fs/cgroup/brig/cgroup.procs /sys/fs/cgroup/brig/cgroup.subtree_control && "+
			"echo $$ | sudo tee /sys/fs/cgroup/brig/cgroup.procs", h.UID)
	}
	return d
}

// noCgroup says what keeps a sandbox from having a group, where no driver works:
// the one that the host was made for says it.
func (h *Host) noCgroup() (cause, fix string) {
	c := h.Cgroups
	if c == nil {
		return "control groups have not been looked at", "see brig doctor"
	}
	d := h.cgroupfsDriver()
	if d.OK {
		d.Cause = "the control group " + c.Parent + " may be divided by the caller, but may be another's to divide as well: it holds processes, or systemd has not marked it as delegated"
		d.Fix = "where nobody else makes groups in it, use --cgroup-manager cgroupfs"
	}
	if c.Session.Systemd && c.Container == "" && d.Fix != "" {
		if s := h.systemdDriver(); !s.OK {
			return s.Cause, s.Fix
		}
	}
	return d.Cause, d.Fix
}

// noManager says why no service manager can be asked, and how to get one.
func (h *Host) noManager() (cause, fix string) {
	m := h.Cgroups.Session
	own := fmt.Sprintf("/run/user/%d", h.UID)
	switch {
	case h.UID == 0:
		return "systemd's socket, /run/systemd/private, is not there", "start brig on the host, outside of containers and chroots"
	case m.Silent != NoRuntimeDir:
		return fmt.Sprintf("the systemd manager of uid %d does not listen in %s", h.UID, m.RuntimeDir),
			fmt.Sprintf("sudo systemctl restart user@%d.service, or log in again", h.UID)
	}
	cause = fmt.Sprintf("no systemd manager runs for uid %d: there is no %s", h.UID, own)
	if m.Foreign != "" {
		cause += fmt.Sprintf(", and XDG_RUNTIME_DIR=%s is not this user's, as su and sudo -u leave it", m.Foreign)
	} else {
		cause += ", as after su, sudo -u, or in a job of cron"
	}
	return cause, fmt.Sprintf("log in by ssh, at a terminal, or with sudo machinectl shell %s@; or let the manager run without a session: "+
		"sudo loginctl enable-linger %[1]s, and export XDG_RUNTIME_DIR=%s", ShellQuote(h.name()), own)
}

// name is the user's name, or the uid in its place.
func (h *Host) name() string {
	if h.User == "" {
		return fmt.Sprint(h.UID)
	}
	return h.User
}

// ShellQuote writes a word for a shell: as it is where nothing in it is
// special.
func ShellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// version1 is for hosts whose controllers are not those of version 2, which
// alone can be handed to ordinary users.
func (c *Cgroups) version1() (cause, fix string) {
	cause = "the controllers are those of version 1 of control groups (layout " + c.Layout + "), which ordinary users cannot be given"
	switch {
	case c.Container != "":
		return cause, "change the host around this container: systemd.unified_cgroup_hierarchy=1 on its kernel's command line"
	case c.Session.Systemd:
		return cause, "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line and start the host again: " +
			"sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1, or in GRUB_CMDLINE_LINUX of /etc/default/grub and sudo update-grub"
	}
	return cause, "mount version 2 with its controllers: cgroup_no_v1=all on the kernel's command line, and mount -t cgroup2 none /sys/fs/cgroup"
}

// inContainer is for containers, which are given their control group to read.
func (c *Cgroups) inContainer() (cause, fix string) {
	cause = "brig runs in a container (" + c.Container + "), whose control group, " + c.Dir + ", it may not divide"
	switch c.Container {
	case "podman":
		return cause, "start the container with --security-opt unmask=/sys/fs/cgroup"
	case "kubernetes":
		return cause, "Kubernetes hands on no control group but with securityContext.privileged: true; without one, brig's supervisor holds what it can"
	}
	return cause, "start the container with --security-opt writable-cgroups=true (Docker 28 and later) or --security-opt unmask=/sys/fs/cgroup (podman)"
}

// Undelegated says why groups of the driver do not have these controllers, and
// what to do: the kernel may lack them, or whoever is above keeps them.
func (h *Host) Undelegated(driver string, missing ...string) (cause, fix string) {
	c := h.Cgroups
	lacking := slices.DeleteFunc(slices.Clone(missing), func(name string) bool {
		return c == nil || c.Existing == nil || slices.Contains(c.Existing, name)
	})
	list := strings.Join(missing, ", ")
	switch {
	case len(missing) == 0:
		return "", ""
	case c == nil:
		return "control groups have not been looked at", "see brig doctor"
	case c.Container != "" && !c.Session.Systemd:
		return "the container around brig does not have " + list, "have it passed on where the container was started: its parent's cgroup.subtree_control names what it gets"
	case len(lacking) > 0:
		return "version 2 of control groups has no " + strings.Join(lacking, ", ") + " here: the kernel is built without, it is switched off, or version 1 has it",
			"use a kernel with " + strings.Join(kernelOptions(lacking), ", ") + ", without cgroup_disable= on its command line (Raspberry Pi: with cgroup_enable=memory)"
	case c.Session.Systemd && h.UID != 0:
		return "systemd does not hand " + list + " to users here",
			"brig doctor --fix-script >fix.sh; read it; sudo sh fix.sh; log in again. It writes " + DelegateDropIn + ": Delegate=" + Delegate
	case driver == string(DriverSystemd):
		return "the service manager does not hand on " + list, "systemctl show -p DelegateControllers tells what it hands on; set Delegate=" + Delegate
	}
	return "the control group of this process, " + c.Dir + ", does not have " + list,
		"have the groups above pass it on: for each of them, echo '+" + strings.Join(missing, " +") + "' | sudo tee DIR/cgroup.subtree_control"
}

// kernelOptions are what controllers are built with.
func kernelOptions(controllers []string) []string {
	var list []string
	for _, c := range controllers {
		switch c {
		case "cpu":
			list = append(list, "CONFIG_CFS_BANDWIDTH=y")
		case "cpuset":
			list = append(list, "CONFIG_CPUSETS=y")
		case "io":
			list = append(list, "CONFIG_BLK_DEV_THROTTLING=y")
		case "memory":
			list = append(list, "CONFIG_MEMCG=y")
		case "pids":
			list = append(list, "CONFIG_CGROUP_PIDS=y")
		}
	}
	return list
}
