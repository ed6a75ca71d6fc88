package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/sandbox/probe"
)

func TestDoctorControlGroups(t *testing.T) {
	const (
		perUser = "brig doctor --fix-script >fix.sh; read it; sudo sh fix.sh; log in again. It writes /etc/systemd/system/user@.service.d/delegate.conf: Delegate=cpu cpuset io memory pids"
		session = "/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope"
	)
	login := func(h *probe.Host) {
		h.Cgroups = &probe.Cgroups{
			Layout: "v2", Own: "/user.slice/user-1000.slice/session-3.scope", Dir: session, Controllers: []string{"cpu", "memory", "pids"},
			Existing: []string{"cpuset", "cpu", "io", "memory", "pids"},
			Manager:  "user", ManagerControllers: []string{"memory", "cpu", "pids"}, Socket: "/run/user/1000/systemd/private",
			Session: probe.Session{Systemd: true, RuntimeDir: "/run/user/1000"},
		}
		h.Scope = probe.Fact{Tried: true, OK: true}
	}
	controllers := func(state3 ...row) []row {
		return append([]row{{name: "controller cpu", state: works, verbose: []string{"shares and quotas of CPU time"}}}, state3...)
	}
	memory := row{name: "controller memory", state: works, verbose: []string{"memory and swap"}}
	pids := row{name: "controller pids", state: works, verbose: []string{"processes"}}
	for _, tt := range []struct {
		name string
		host string
		mend func(*probe.Host)
		want []row
	}{
		{"login session", "full", login, append([]row{
			{name: "driver systemd", state: works, verbose: []string{"controllers: cpu, memory, pids"}},
			{name: "driver cgroupfs", state: unused, detail: "the control group of this process, " + session + ", is not the caller's to divide"},
			{name: "driver in use", state: works, detail: "systemd: the service manager gives each sandbox a scope", verbose: []string{
				"found: v2, own cgroup " + session + " with cpu, memory, pids, not the caller's to divide, the user's service manager at /run/user/1000/systemd/private",
			}},
		}, controllers(
			row{name: "controller cpuset", state: missing, detail: "not held by the kernel: binding to CPUs and memory nodes", cause: "systemd does not hand cpuset to users here", fix: perUser},
			row{name: "controller io", state: missing, detail: "not held by the kernel: transfers of block devices", cause: "systemd does not hand io to users here"},
			memory, pids)...)},
		{"tried, all handed on", "full", func(h *probe.Host) {
			login(h)
			h.Cgroups.Parent, h.Cgroups.Certain = session, true
			h.Cgroups.Drivers = []probe.CgroupDriver{
				{Name: probe.DriverSystemd, Fact: probe.Fact{Tried: true, OK: true}, Controllers: probe.UsefulControllers()},
				{Name: probe.DriverCgroupfs, Fact: probe.Fact{Tried: true, OK: true}, Controllers: probe.UsefulControllers()},
			}
		}, append([]row{
			{name: "driver systemd", state: works, detail: "not needed"},
			{name: "driver cgroupfs", state: works, verbose: []string{"controllers: cpu, cpuset, io, memory, pids"}},
			{name: "driver in use", state: works, detail: "cgroupfs: " + session + " is the caller's to divide, and no manager has to be asked", verbose: []string{
				"found: v2, own cgroup " + session + " with cpu, memory, pids, not the caller's to divide, the user's service manager at /run/user/1000/systemd/private",
			}},
		}, controllers(
			row{name: "controller cpuset", state: works, verbose: []string{"binding to CPUs and memory nodes"}},
			row{name: "controller io", state: works, verbose: []string{"transfers of block devices"}}, memory, pids)...)},
		{"none", "no-cgroup", nil, []row{
			{name: "driver systemd", state: missing, cause: "systemd does not run here"},
			{name: "driver cgroupfs", state: missing, cause: "there are no control groups to be seen", fix: "mount them: sudo mount -t cgroup2 none /sys/fs/cgroup; or use a kernel with CONFIG_CGROUPS=y"},
			{
				name: "driver in use", state: weaker, detail: "none: rlimits, affinity and brig's supervisor hold what limits they can",
				verbose: []string{"found: none, no systemd"},
			},
		}},
	} {
		h := recordedHost(t, tt.host)
		if tt.mend != nil {
			tt.mend(h)
		}
		d := &diagnosis{host: h}
		if diff := cmp.Diff(tt.want, d.cgroupRows(), cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if rows := (&diagnosis{host: &probe.Host{}}).cgroupRows(); rows != nil {
		t.Errorf("rows of nothing: %v", rows)
	}
}

// TestDoctorSession: someone who came by su is told what to do, in the table
// and in the JSON.
func TestDoctorSession(t *testing.T) {
	h := recordedHost(t, "full")
	h.Cgroups = &probe.Cgroups{
		Layout: "v2", Own: "/user.slice/user-0.slice/session-1.scope", Dir: "/sys/fs/cgroup/user.slice/user-0.slice/session-1.scope", Controllers: []string{"memory"},
		Session: probe.Session{Systemd: true, RuntimeDir: "/run/user/1000", Silent: probe.NoRuntimeDir},
	}
	h.Cgroups.Drivers = h.CgroupDrivers()
	var out bytes.Buffer
	if err := (&diagnosis{host: h}).print(&out, false); err != nil {
		t.Fatal(err)
	}
	text, err := probe.Encode(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"no systemd manager runs for uid 1000: there is no /run/user/1000, as after su, sudo -u, or in a job of cron",
		"sudo machinectl shell alice@", "sudo loginctl enable-linger alice, and export XDG_RUNTIME_DIR=/run/user/1000",
	} {
		if !strings.Contains(out.String(), want) || !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s%s", want, out.String(), text)
		}
	}
}
