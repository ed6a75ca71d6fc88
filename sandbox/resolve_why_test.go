package sandbox_test

import (
	"errors"
	"testing"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// TestResolveWhyNoGroup: each limit that only a control group can hold is
// refused with what this host lacks for one.
func TestResolveWhyNoGroup(t *testing.T) {
	const (
		tail   = `, or set enforcement.limits = "best-effort" to run without it`
		only   = " cannot be held here: only a control group can hold it, and none can be made: "
		none   = "there are no control groups to be seen\n  fix: mount them: sudo mount -t cgroup2 none /sys/fs/cgroup; or use a kernel with CONFIG_CGROUPS=y" + tail
		docker = "brig runs in a container (docker), whose control group, /sys/fs/cgroup, it may not divide\n  fix: start the container with --security-opt writable-cgroups=true (Docker 28 and later) or --security-opt unmask=/sys/fs/cgroup (podman)" + tail
	)
	for _, tt := range []struct {
		name   string
		change func(*policy.Limits)
		host   func(*probe.Host)
		want   string
	}{
		{"weight", func(l *policy.Limits) { l.CPUWeight = 50 }, nil, "limit cpu_weight = 50" + only + none},
		{"nodes", func(l *policy.Limits) { l.CPUSetMems = "0-1" }, nil, "limit cpuset_mems = 0-1" + only + none},
		{"protection", func(l *policy.Limits) { l.MemoryLow = 1 << 20 }, nil, "limit memory_low = 1MiB" + only + none},
		{"throttle", func(l *policy.Limits) { l.MemoryHigh = 1 << 20 }, nil, "limit memory_high = 1MiB" + only + none},
		{"swap", func(l *policy.Limits) { l.Swap = 1 << 30 }, nil, "limit swap = 1GiB" + only + none},
		{"no such node", func(l *policy.Limits) { l.CPUSetMems = "0-1" }, func(h *probe.Host) { h.Nodes = []int{0} }, "cpuset_mems \"0-1\": this host has no memory node 1; it has 0\n  fix: choose among these"},
		{"half a CPU", func(l *policy.Limits) { l.CPUs = 0.5 }, nil, "limit cpus = 0.5 cannot be held here: without the cpu controller only whole CPUs can be held, by affinity\n  fix: ask for 1" + tail},
		{"I/O", func(l *policy.Limits) { l.IO = []policy.IOLimit{{Device: "/dev/sda", ReadBPS: 1}} }, func(h *probe.Host) {
			h.Devices = map[string]probe.Device{"/dev/sda": {Major: 8, Name: "sda"}}
		}, "limit io = /dev/sda rbps=1" + only + none},
		{"in a container", func(l *policy.Limits) { l.CPUWeight = 50 }, func(h *probe.Host) {
			h.Cgroups = &probe.Cgroups{Layout: "v2", Own: "/", Dir: "/sys/fs/cgroup", Controllers: []string{"cpu"}, Container: "docker", Session: probe.Session{RuntimeDir: "/run"}}
		}, "limit cpu_weight = 50" + only + docker},
		{"no such device", func(l *policy.Limits) { l.IO = []policy.IOLimit{{Device: "/dev/sdz", ReadBPS: 1}} }, func(h *probe.Host) {
			h.Devices = map[string]probe.Device{"/dev/sdz": {Problem: "there is no such file or device", Fix: "name another"}}
		}, "limit io = /dev/sdz rbps=1 cannot be held here: there is no such file or device\n  fix: name another" + `, or set enforcement.limits = "best-effort" to run without it`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, host := shipped(t, "strict"), recorded(t, "no-cgroup")
			host.Cgroups.Session.RuntimeDir = "/run/user/1000" // looked at
			tt.change(&p.Limits)
			if tt.host != nil {
				tt.host(host)
			}
			spec := specOf(p, "./a.out")
			if q := spec.Question(); !q.WhyNoCgroup || len(q.Devices) != len(p.Limits.IO) {
				t.Errorf("it does not ask for what it needs: %+v", q)
			}
			_, err := sandbox.Resolve(spec, host)
			if !errors.Is(err, &sandbox.Error{Code: sandbox.CodeLimit}) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			p.Enforcement.Limits = policy.BestEffort
			if _, err := sandbox.Resolve(spec, host); err != nil && host.Nodes == nil {
				t.Errorf("with best-effort: %v", err)
			}
		})
	}
	if q := specOf(shipped(t, "strict"), "./a.out").Question(); q.WhyNoCgroup || q.Devices != nil {
		t.Errorf("it asks for what it does not need: %+v", q)
	}
}

// TestResolveUndelegated: the error about a controller names the drop-in that
// hands it on.
func TestResolveUndelegated(t *testing.T) {
	session := func(h *probe.Host) {
		h.Cgroups = &probe.Cgroups{Layout: "v2", Manager: "user", ManagerControllers: []string{"cpu", "memory", "pids"}}
		h.Scope, h.Devices = probe.Fact{OK: true}, map[string]probe.Device{"/": {Major: 8, Name: "sda", Holes: []string{"a hole"}}}
	}
	const tail = `, or set enforcement.limits = "best-effort" to run without it`
	p, host := shipped(t, "strict"), recorded(t, "full")
	session(host)
	p.Limits.IO = []policy.IOLimit{{Device: "/", WriteBPS: 5}}
	_, err := sandbox.Resolve(specOf(p, "./a.out"), host)
	if want := "limit io = / wbps=5 cannot be held here: the controller io is not delegated to the caller\n" +
		"  fix: let an administrator read and run what brig doctor --fix-script prints, which writes " + probe.DelegateDropIn + tail; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	host.Cgroups.Session = probe.Session{Systemd: true, RuntimeDir: "/run/user/1000"}
	_, err = sandbox.Resolve(specOf(p, "./a.out"), host)
	if want := "limit io = / wbps=5 cannot be held here: systemd does not hand io to users here\n  fix: brig doctor --fix-script >fix.sh; read it; " +
		"sudo sh fix.sh; log in again. It writes " + probe.DelegateDropIn + ": Delegate=cpu cpuset io memory pids" + tail; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	host.Cgroups.ManagerControllers = probe.UsefulControllers()
	res, err := sandbox.Resolve(specOf(p, "./a.out"), host)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range res.Limits {
		if l.Limit == "io" && (l.Written != "8:0 wbps=5" || len(l.Holes) != 1) {
			t.Errorf("%+v", l)
		}
	}
}
