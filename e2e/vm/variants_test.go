//go:build machines

package main

import (
	"testing"
)

// variant is a machine changed in one respect: root does it, a script below
// testdata/machine/variants tells what brig must do there, and root undoes it.
type variant struct {
	name     string // of the script
	do, undo string // shell commands of root's
	// wrap runs the suite in another way than as a child of alice's session.
	// It is run by root where asRoot is set.
	wrap   []string
	asRoot bool
}

var variants = []variant{
	{name: "default-delegation"},
	{
		name: "no-userns-sysctl",
		do:   "sysctl -qw user.max_user_namespaces=0",
		undo: "sysctl -qw user.max_user_namespaces=$(( $(cat /proc/sys/kernel/threads-max) / 2 ))",
	},
	{
		name: "no-userns-debian",
		do:   "sysctl -qw kernel.unprivileged_userns_clone=0",
		undo: "sysctl -qw kernel.unprivileged_userns_clone=1",
	},
	{
		name: "no-subuid",
		do:   "mv /etc/subuid /etc/subuid.kept; mv /etc/subgid /etc/subgid.kept; touch /etc/subuid /etc/subgid",
		undo: "mv /etc/subuid.kept /etc/subuid; mv /etc/subgid.kept /etc/subgid",
	},
	{
		name: "newuidmap-without-setuid",
		do:   "chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap",
		undo: "chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap",
	},
	{
		// bob has never logged in: no user manager, no bus, no runtime directory.
		name:   "no-user-bus",
		wrap:   []string{"env", "POSIXLY_CORRECT=1", "su", "-c", `unset POSIXLY_CORRECT; cd /opt/brig/src/e2e && exec "$@"`, "-", "bob", "sh"},
		asRoot: true,
	},
	{
		name:   "system-service",
		wrap:   []string{"systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=alice", "-p", "Delegate=yes", "--working-directory=/opt/brig/src/e2e", "--"},
		asRoot: true,
	},
	{
		name: "manager-hangs",
		do:   "pkill -STOP -u alice -x systemd",
		undo: "pkill -CONT -u alice -x systemd",
	},
	{
		name: "manager-gone",
		do:   "cd /run/user/1000 && mv bus bus.kept && mv systemd/private systemd/private.kept",
		undo: "cd /run/user/1000 && mv bus.kept bus && mv systemd/private.kept systemd/private",
	},
	{name: "manager-back"},
	{
		name: "user-service",
		wrap: []string{"systemd-run", "--user", "--quiet", "--pipe", "--wait", "--collect", "-p", "Delegate=yes", "--working-directory=/opt/brig/src/e2e", "--"},
	},
}

func (g *guest) testVariants(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			if v.do != "" {
				g.must(t, g.root, v.do)
				defer g.must(t, g.root, v.undo)
			}
			s := g.user
			if v.asRoot {
				s = g.root
			}
			g.scripts(t, s, "variants/"+v.name, v.wrap...)
		})
	}
}

// delegateAll gives users the io and cpuset controllers too, as the shipped
// drop-in does, until undo is called.
func (g *guest) delegateAll(t *testing.T) (undo func()) {
	t.Helper()
	const dropIn = "/run/systemd/system/user@.service.d"
	const reload = "systemctl daemon-reload && systemctl restart user@1000.service && sleep 1"
	g.must(t, g.root, "mkdir -p "+dropIn+" && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >"+dropIn+"/delegate.conf && "+reload)
	got := g.must(t, g.user, "cat /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers")
	if got != "cpuset cpu io memory pids" {
		t.Errorf("alice's systemd has %q after the drop-in", got)
	}
	return func() { g.must(t, g.root, "rm -r "+dropIn+" && "+reload) }
}

// processors starts the second processor, which measurements of shares need,
// until undo is called. A service with a quota keeps the kernel from changing its
// code for the first and after the last quota of a job's (see accel.go).
func (g *guest) processors(t *testing.T) (undo func()) {
	t.Helper()
	const online = " >/sys/devices/system/cpu/cpu1/online"
	if !g.slow {
		return func() {}
	}
	g.must(t, g.root, "systemd-run --quiet --unit=quota -p CPUQuota=50% sleep infinity && echo 1"+online)
	return func() { g.must(t, g.root, "echo 0"+online+"; systemctl stop quota") }
}
