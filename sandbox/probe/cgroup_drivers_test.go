package probe

import (
	"slices"
	"strings"
	"testing"
)

// aliceHost is a host of version 2 with systemd where all is well.
func aliceHost(change func(*Host)) *Host {
	h := &Host{UID: 1000, User: "alice", Cgroups: &Cgroups{
		Layout: "v2", Own: "/user.slice/user-1000.slice/session-3.scope", Dir: "/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope",
		Controllers: []string{"cpu", "memory", "pids"}, Existing: []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"}, UserManager: true,
		Manager: "user", ManagerControllers: []string{"cpu", "memory", "pids"}, Socket: "/run/user/1000/systemd/private",
		Session: Session{Systemd: true, RuntimeDir: "/run/user/1000"},
	}, Scope: Fact{OK: true}}
	if change != nil {
		change(h)
	}
	return h
}

// silent makes it one whose manager does not answer.
func silent(why Silence, foreign string) func(*Host) {
	return func(h *Host) {
		h.Cgroups.Manager, h.Cgroups.ManagerControllers = "", nil
		h.Cgroups.Session.Silent, h.Cgroups.Session.Foreign = why, foreign
	}
}

// divided makes it one on which a part of the tree is the caller's.
func divided(certain bool) func(*Host) {
	return func(h *Host) {
		c := h.Cgroups
		c.Parent, c.ParentControllers, c.Certain = "/sys/fs/cgroup/own", []string{"memory", "pids"}, certain
	}
}

func TestChosenDriver(t *testing.T) {
	const (
		session = "log in by ssh, at a terminal, or with sudo machinectl shell alice@; or let the manager run without a session: " +
			"sudo loginctl enable-linger alice, and export XDG_RUNTIME_DIR=/run/user/1000"
		version1 = "the controllers are those of version 1 of control groups (layout hybrid), which ordinary users cannot be given"
		unified  = "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line and start the host again: " +
			"sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1, or in GRUB_CMDLINE_LINUX of /etc/default/grub and sudo update-grub"
	)
	container := func(name string) func(*Host) {
		return func(h *Host) {
			h.Cgroups = &Cgroups{Layout: "v2", Own: "/", Dir: "/sys/fs/cgroup", Controllers: []string{"cpu", "pids"}, Container: name}
		}
	}
	for _, tt := range []struct {
		name       string
		host       *Host
		driver     DriverName
		cause, fix string
	}{
		{"session", aliceHost(nil), DriverSystemd, "", ""},
		{"own service", aliceHost(divided(true)), DriverCgroupfs, "", ""},
		{"own group without systemd", aliceHost(func(h *Host) { silent("", "")(h); divided(true)(h) }), DriverCgroupfs, "", ""},
		{"occupied by others", aliceHost(divided(false)), DriverSystemd, "", ""},
		{
			"uncertain, and nothing else", aliceHost(func(h *Host) { silent("", "")(h); divided(false)(h); h.Cgroups.Session.Systemd = false }), DriverNone,
			"the control group /sys/fs/cgroup/own may be divided by the caller, but may be another's to divide as well: it holds processes, or systemd has not marked it as delegated",
			"where nobody else makes groups in it, use --cgroup-manager cgroupfs",
		},
		{"a manager that hangs", aliceHost(func(h *Host) { h.Scope = Fact{Tried: true, Cause: "it hangs", Fix: "wake it"} }), DriverNone, "it hangs", "wake it"},
		{
			"su", aliceHost(silent(NoRuntimeDir, "")), DriverNone,
			"no systemd manager runs for uid 1000: there is no /run/user/1000, as after su, sudo -u, or in a job of cron", session,
		},
		{
			"su that keeps the directory", aliceHost(silent(NoRuntimeDir, "/run/user/0")), DriverNone,
			"no systemd manager runs for uid 1000: there is no /run/user/1000, and XDG_RUNTIME_DIR=/run/user/0 is not this user's, as su and sudo -u leave it", session,
		},
		{
			"manager gone", aliceHost(silent(NoManagerSocket, "")), DriverNone,
			"the systemd manager of uid 1000 does not listen in /run/user/1000", "sudo systemctl restart user@1000.service, or log in again",
		},
		{
			"a name to quote", aliceHost(func(h *Host) { silent(NoRuntimeDir, "")(h); h.User = "al'ice" }), DriverNone,
			"no systemd manager runs for uid 1000: there is no /run/user/1000, as after su, sudo -u, or in a job of cron",
			strings.ReplaceAll(session, "alice", `'al'\''ice'`),
		},
		{
			"hybrid", aliceHost(func(h *Host) {
				silent("", "")(h)
				h.Cgroups.Layout, h.Cgroups.Controllers = "hybrid", []string{"hugetlb"}
			}), DriverNone, version1, unified,
		},
		{
			"hybrid in a container", &Host{UID: 1000, Cgroups: &Cgroups{Layout: "hybrid", Container: "docker"}}, DriverNone,
			version1, "change the host around this container: systemd.unified_cgroup_hierarchy=1 on its kernel's command line",
		},
		{
			"hybrid without systemd", &Host{UID: 1000, Cgroups: &Cgroups{Layout: "hybrid"}}, DriverNone,
			version1, "mount version 2 with its controllers: cgroup_no_v1=all on the kernel's command line, and mount -t cgroup2 none /sys/fs/cgroup",
		},
		{
			"docker", aliceHost(container("docker")), DriverNone, "brig runs in a container (docker), whose control group, /sys/fs/cgroup, it may not divide",
			"start the container with --security-opt writable-cgroups=true (Docker 28 and later) or --security-opt unmask=/sys/fs/cgroup (podman)",
		},
		{
			"podman", aliceHost(container("podman")), DriverNone, "brig runs in a container (podman), whose control group, /sys/fs/cgroup, it may not divide",
			"start the container with --security-opt unmask=/sys/fs/cgroup",
		},
		{
			"kubernetes", aliceHost(container("kubernetes")), DriverNone, "brig runs in a container (kubernetes), whose control group, /sys/fs/cgroup, it may not divide",
			"Kubernetes hands on no control group but with securityContext.privileged: true; without one, brig's supervisor holds what it can",
		},
		{
			"another init", aliceHost(func(h *Host) {
				h.Cgroups.Manager, h.Cgroups.Session, h.Cgroups.Dir = "", Session{}, "/sys/fs/cgroup"
			}), DriverNone,
			"the control group of this process, /sys/fs/cgroup, is not the caller's to divide",
			"have root make one for you, and start brig in it: sudo mkdir /sys/fs/cgroup/brig && sudo chown 1000 /sys/fs/cgroup/brig " +
				"/sys/fs/cgroup/brig/cgroup.procs /sys/fs/cgroup/brig/cgroup.subtree_control && echo $$ | sudo tee /sys/fs/cgroup/brig/cgroup.procs",
		},
		{
			"none at all", aliceHost(func(h *Host) { h.Cgroups = &Cgroups{Layout: "none"} }), DriverNone,
			"there are no control groups to be seen", "mount them: sudo mount -t cgroup2 none /sys/fs/cgroup; or use a kernel with CONFIG_CGROUPS=y",
		},
		{
			"nothing is handed to users", aliceHost(func(h *Host) { h.Cgroups.ManagerControllers = nil }), DriverNone,
			"systemd does not hand cpu, cpuset, io, memory, pids to users here",
			"brig doctor --fix-script >fix.sh; read it; sudo sh fix.sh; log in again. It writes " + DelegateDropIn + ": Delegate=cpu cpuset io memory pids",
		},
		{"not looked at", &Host{}, DriverNone, "control groups have not been looked at", "see brig doctor"},
	} {
		d, why := tt.host.ChosenDriver()
		if d.Name != tt.driver || d.Cause != tt.cause || d.Fix != tt.fix || why == "" {
			t.Errorf("%s: %s (%s)\ncause %q\n want %q\nfix %q\nwant %q", tt.name, d.Name, why, d.Cause, tt.cause, d.Fix, tt.fix)
		}
	}
}

// TestTriedDrivers: what was tried counts, not what is presumed.
func TestTriedDrivers(t *testing.T) {
	h := aliceHost(func(h *Host) {
		divided(true)(h)
		h.Cgroups.Drivers = []CgroupDriver{{Name: DriverSystemd, Fact: Fact{Tried: true, Cause: "it hangs"}}, {Name: DriverCgroupfs, Fact: Fact{Tried: true, OK: true}, Controllers: []string{"pids"}}}
	})
	d, _ := h.ChosenDriver()
	if d.Name != DriverCgroupfs || !slices.Equal(d.MissingControllers(UsefulControllers()...), []string{"cpu", "cpuset", "io", "memory"}) {
		t.Errorf("%+v", d)
	}
}

func TestUndelegated(t *testing.T) {
	for _, tt := range []struct {
		name       string
		host       *Host
		driver     DriverName
		missing    string
		cause, fix string
	}{
		{"nothing", aliceHost(nil), DriverSystemd, "", "", ""},
		{
			"drop-in", aliceHost(nil), DriverSystemd, "cpuset io", "systemd does not hand cpuset, io to users here",
			"brig doctor --fix-script >fix.sh; read it; sudo sh fix.sh; log in again. It writes " + DelegateDropIn + ": Delegate=cpu cpuset io memory pids",
		},
		{
			"kernel", aliceHost(func(h *Host) { h.Cgroups.Existing = []string{"cpu", "pids"} }), DriverSystemd, "io memory",
			"version 2 of control groups has no io, memory here: the kernel is built without, it is switched off, or version 1 has it",
			"use a kernel with CONFIG_BLK_DEV_THROTTLING=y, CONFIG_MEMCG=y, without cgroup_disable= on its command line (Raspberry Pi: with cgroup_enable=memory)",
		},
		{
			"root", aliceHost(func(h *Host) { h.UID = 0 }), DriverSystemd, "io", "the service manager does not hand on io",
			"systemctl show -p DelegateControllers tells what it hands on; set Delegate=cpu cpuset io memory pids",
		},
		{
			"another init", aliceHost(func(h *Host) { h.Cgroups.Session, h.Cgroups.Dir = Session{}, "/sys/fs/cgroup/brig" }), DriverCgroupfs, "cpuset io",
			"the control group of this process, /sys/fs/cgroup/brig, does not have cpuset, io",
			"have the groups above pass it on: for each of them, echo '+cpuset +io' | sudo tee DIR/cgroup.subtree_control",
		},
		{
			"container", aliceHost(func(h *Host) { h.Cgroups.Session, h.Cgroups.Container = Session{}, "podman" }), DriverCgroupfs, "io",
			"the container around brig does not have io", "have it passed on where the container was started: its parent's cgroup.subtree_control names what it gets",
		},
	} {
		cause, fix := tt.host.Undelegated(string(tt.driver), strings.Fields(tt.missing)...)
		if cause != tt.cause || fix != tt.fix {
			t.Errorf("%s:\ncause %q\n want %q\nfix %q\nwant %q", tt.name, cause, tt.cause, fix, tt.fix)
		}
	}
}

// TestSession looks for a manager that listens, and where nobody can.
func TestSession(t *testing.T) {
	dir := t.TempDir()
	if got := silence(dir + "/absent"); got != NoRuntimeDir {
		t.Errorf("no directory: %q", got)
	}
	if got := silence(dir); got != NoManagerSocket {
		t.Errorf("no socket: %q", got)
	}
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if s := readSession(4321); s.Foreign != dir || s.RuntimeDir != "/run/user/4321" || s.Silent != NoRuntimeDir {
		t.Errorf("somebody else's directory: %+v", s)
	}
	if own := Look(dir).UID; own != 0 {
		if s := readSession(own); s.Foreign != "" || s.RuntimeDir != dir || s.Silent != NoManagerSocket {
			t.Errorf("one's own: %+v", s)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if s := readSession(4321); s.Foreign != "" || s.RuntimeDir != "/run/user/4321" {
		t.Errorf("none: %+v", s)
	}
}
