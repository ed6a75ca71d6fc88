package sandbox_test

import (
	"errors"
	"testing"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// TestResolveWithoutCgroup: each limit that only a cgroup can hold is refused
// with what this host lacks for one.
func TestResolveWithoutCgroup(t *testing.T) {
	const (
		tail   = `; or leave it out, or set enforcement.limits = "best-effort" to run without it`
		only   = " cannot be held here: only a cgroup can hold it, and brig has none here: "
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
		{"I/O", func(l *policy.Limits) { l.IO = []policy.IOLimit{{Device: "/dev/sda", ReadBPS: 1}} }, nil, "limit io = /dev/sda" + only + none},
		{"in a container", func(l *policy.Limits) { l.CPUWeight = 50 }, func(h *probe.Host) {
			h.Cgroups = &probe.Cgroups{Layout: "v2", Own: "/", Dir: "/sys/fs/cgroup", Controllers: []string{"cpu"}, Container: "docker"}
		}, "limit cpu_weight = 50" + only + docker},
		{"no such device", func(l *policy.Limits) { l.IO = []policy.IOLimit{{Device: "/dev/sdz", ReadBPS: 1}} }, func(h *probe.Host) {
			h.Devices = map[string]probe.Device{"/dev/sdz": {Problem: "there is no such file or device", Fix: "name another"}}
		}, "limit io = /dev/sdz cannot be held here: there is no such file or device\n  fix: name another" + `, or set enforcement.limits = "best-effort" to run without it`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, host := shipped(t, "strict"), recorded(t, "no-cgroup")
			tt.change(&p.Limits)
			if tt.host != nil {
				tt.host(host)
			}
			spec := specOf(p, "./a.out")
			if q := spec.Question(); !q.Cgroups || len(q.Devices) != len(p.Limits.IO) {
				t.Errorf("it does not ask for what it needs: %+v", q)
			}
			_, err := sandbox.Resolve(spec, host)
			if !errors.Is(err, &sandbox.Error{Code: sandbox.CodeLimit}) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			p.Enforcement.Limits = policy.BestEffort
			if _, err := sandbox.Resolve(spec, host); err != nil {
				t.Errorf("with best-effort: %v", err)
			}
		})
	}
	if q := specOf(shipped(t, "strict"), "./a.out").Question(); q.Cgroups || q.Devices != nil {
		t.Errorf("it asks for what it does not need: %+v", q)
	}
}
