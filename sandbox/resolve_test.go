package sandbox_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

func mount(source, target string, access policy.Access) policy.Mount {
	return policy.Mount{Type: policy.Bind, Source: source, Target: target, Access: access}
}

// layer gives a job a root of n layers.
func layer(spec *sandbox.Spec, host *probe.Host, n int) {
	spec.Policy.Filesystem.Root, spec.LayerMap = "image:debian:12", policy.MapIsolated
	for i := range n {
		dir := "/layers/" + strconv.Itoa(i)
		spec.Layers = append(spec.Layers, dir)
		host.Files[dir] = probe.File{Type: probe.Dir, Device: 2050, Inode: uint64(100 + i), Mode: 0o755, UID: 100000, GID: 100000}
	}
}

// byRoot makes a recorded host that of a caller who is root.
func byRoot(h *probe.Host) {
	h.UID, h.GID, h.User = 0, 0, "root"
	r := []userns.Range{{Start: 1 << 20, Count: 65536}}
	h.SubIDs = userns.SubIDs{UID: r, GID: r}
}

// What is said of a limit on a host where no group can be made, and behind
// every fix.
const (
	noGroup = "only a control group can hold it, and none can be made: this host has no control groups of version 2 alone (at /sys/fs/cgroup)\n" +
		"  fix: boot it with systemd.unified_cgroup_hierarchy=1, or start the container around brig with its own cgroup namespace"
	orBestEffort = `, or set enforcement.limits = "best-effort" to run without it`
)

// Each case takes a job that is given and changes one thing.
func TestResolveRefuses(t *testing.T) {
	type world struct {
		spec *sandbox.Spec
		p    *policy.Policy
		host *probe.Host
	}
	mounts := func(m ...policy.Mount) func(*world) {
		return func(w *world) { w.p.Filesystem.Mounts = m }
	}
	layers := func(n int) func(*world) {
		return func(w *world) { layer(w.spec, w.host, n) }
	}
	tests := []struct {
		name   string
		policy string
		change func(*world)
		code   sandbox.Code
		want   string
	}{
		{"no command", "strict", func(w *world) { w.spec.Args = nil }, sandbox.CodeNoCommand, "no command to run\n  fix: name one: brig run -- COMMAND [ARG...]"},
		{"empty command", "strict", func(w *world) { w.spec.Args = []string{""} }, sandbox.CodeNoCommand, "no command to run\n  fix: name one: brig run -- COMMAND [ARG...]"},
		{"NUL in an argument", "strict", func(w *world) { w.spec.Args = []string{"echo", "a\x00b"} }, sandbox.CodeBadSpec, `argument 1 holds a NUL byte: a\x00b` + "\n  fix: remove it: the kernel ends strings there"},
		{"NUL in the environment", "strict", func(w *world) { w.spec.Env = []string{"A=\x00\x1b[2J"} }, sandbox.CodeBadSpec, `environment variable 0 holds a NUL byte: A=\x00\x1b[2J` + "\n  fix: remove it: the kernel ends strings there"},
		{"10 MiB of arguments are the kernel's business, 17 are not", "strict", func(w *world) {
			w.spec.Args = []string{"echo", strings.Repeat("x", 1<<20)}
			for range 16 {
				w.spec.Args = append(w.spec.Args, w.spec.Args[1])
			}
		}, sandbox.CodeTooLong, "argument list of 17825814 bytes, the most is 16777216\n  fix: pass long input as a file or on stdin"},
		{"no host name", "strict", func(w *world) { w.spec.Hostname = "" }, sandbox.CodeBadSpec, `host name ""` + "\n  fix: use 1 to 64 letters, digits, dots and hyphens"},
		{"host name with a newline", "strict", func(w *world) { w.spec.Hostname = "a\n127.0.0.1 bank" }, sandbox.CodeBadSpec, `host name "a\n127.0.0.1 bank"` + "\n  fix: use 1 to 64 letters, digits, dots and hyphens"},
		{"long host name", "strict", func(w *world) { w.spec.Hostname = strings.Repeat("h", 65) }, sandbox.CodeBadSpec, `host name "` + strings.Repeat("h", 65) + `"` + "\n  fix: use 1 to 64 letters, digits, dots and hyphens"},

		{"old kernel", "strict", func(w *world) { w.host.Kernel = probe.Kernel{Major: 5, Minor: 10, Release: "5.10.0-8"} }, sandbox.CodeKernel, "kernel 5.10.0-8 is older than 5.14\n  fix: run brig on a newer kernel"},
		{"no user namespace", "strict", func(w *world) { w.host.UserNS = probe.Fact{Cause: "they are off", Fix: "turn them on"} }, sandbox.CodeHost, "user namespaces cannot be had here: they are off\n  fix: turn them on"},
		{"no mount_setattr", "strict", func(w *world) { w.host.MountAttr = probe.Fact{Cause: "c", Fix: "f"} }, sandbox.CodeHost, "recursive read-only mounts cannot be had here: c\n  fix: f"},
		{"masked proc", "strict", func(w *world) { w.host.Proc = probe.Fact{Cause: "c", Fix: "f"} }, sandbox.CodeHost, "a procfs of the sandbox's own cannot be had here: c\n  fix: f"},
		{"no network namespace", "strict", func(w *world) { w.host.NetNS = probe.Fact{Cause: "c", Fix: "f"} }, sandbox.CodeHost, "a network stack of the sandbox's own cannot be had here: c\n  fix: f"},
		{"no seccomp", "strict", func(w *world) { w.host.Seccomp = probe.Fact{Cause: "c", Fix: "f"} }, sandbox.CodeHost, "seccomp filters cannot be loaded here: c\n  fix: f"},
		{"network user", "strict", func(w *world) { w.p.Network.Mode = policy.NetworkUser }, sandbox.CodeBadSpec, `network mode "user" is not offered` + "\n" + `  fix: use "none" or "host"`},
		{"image", "strict", func(w *world) { w.p.Filesystem.Root = "image:debian" }, sandbox.CodeBadSpec, `root file system "image:debian": the image's layers were not given` + "\n  fix: find the image, and give it to Spec.UseImage"},
		{"unknown root", "strict", func(w *world) { w.p.Filesystem.Root = "nfs:x" }, sandbox.CodeBadSpec, `root file system "nfs:x" is not offered` + "\n" + `  fix: use "host", "dir:PATH" or "image:REFERENCE"`},
		{"layers for another root", "strict", func(w *world) { w.spec.Layers = []string{"/l"} }, sandbox.CodeBadSpec, `root file system "host", and the layers of an image` + "\n" + `  fix: set filesystem.root to "image:REFERENCE"`},

		{"too many layers", "strict", layers(500), sandbox.CodeSource, "the root file system has 500 layers, and the kernel stacks 499 at most\n  fix: make an image of fewer layers: docker build --squash, or export and import a container of it"},
		{"missing layer", "strict", func(w *world) {
			layers(2)(w)
			delete(w.host.Files, "/layers/1")
		}, sandbox.CodeSource, "layer /layers/1 does not exist\n  fix: check the path"},
		{"layer is a file", "strict", func(w *world) {
			layers(2)(w)
			w.host.Files["/layers/1"] = probe.File{Type: probe.Regular}
		}, sandbox.CodeSource, "layer /layers/1 is a file, not a directory\n  fix: check the path"},
		{"layers without overlayfs", "strict", func(w *world) {
			layers(2)(w)
			w.host.Overlay = probe.Fact{Cause: "no such file system"}
		}, sandbox.CodeHost, "an image cannot be the root file system: overlayfs cannot be mounted here: no such file system\n  fix: use a root file system of the host"},
		{"layers of another map", "strict", func(w *world) {
			layers(2)(w)
			w.p.User.Map = policy.MapKeepID
		}, sandbox.CodeIDs, `map "keep-id" gives every file of the image another owner: its layers were unpacked with map "isolated"` + "\n  fix: use --userns auto"},
		{"group that is not mapped", "judge", func(w *world) { w.spec.Groups = []uint32{27, 70000} }, sandbox.CodeIDs, "the job's group 70000 is not mapped\n  fix: choose other groups, or another mapping with --userns"},

		{"missing source", "strict", mounts(mount("/home/alice/nothing", "/w", policy.ReadOnly)), sandbox.CodeSource, "source /home/alice/nothing does not exist\n  fix: check the path"},
		{"source is a link", "strict", func(w *world) {
			mounts(mount("/home/alice/link", "/w", policy.ReadOnly))(w)
			w.host.Files["/home/alice/link"] = probe.File{Type: probe.Symlink, Link: "/etc\x1b"}
		}, sandbox.CodeSource, `source /home/alice/link is a symbolic link to /etc\x1b` + "\n  fix: name the directory itself"},
		{"source is a socket", "strict", mounts(mount("/dev/null", "/w", policy.ReadOnly)), sandbox.CodeSource, "source /dev/null is a other, not a file or directory\n  fix: check the path"},
		{"source cannot be seen", "strict", func(w *world) {
			mounts(mount("/root/x", "/w", policy.ReadOnly))(w)
			w.host.Files["/root/x"] = probe.File{Type: probe.Unknown, Problem: "permission denied"}
		}, sandbox.CodeSource, "source /root/x cannot be looked at: permission denied, not a file or directory\n  fix: check the path"},
		{"root is a file", "strict", func(w *world) { w.p.Filesystem.Root = "dir:/home/alice/project/input" }, sandbox.CodeSource, "root file system /home/alice/project/input is a file, not a directory\n  fix: check the path"},
		{"unknown access", "strict", mounts(mount(projectDir, "/w", "rwx")), sandbox.CodeBadSpec, `access "rwx" of /w` + "\n  fix: use ro, rw, cow or copy"},
		{"cow with isolated", "judge", mounts(mount(projectDir, "/w", policy.CopyOnWrite)), sandbox.CodeSource, projectDir + " cannot be given cow with map isolated: the caller's own id is not in the sandbox, so nothing in it may be written\n  fix: use access copy, or --userns keep-id or single"},
		{"rw with isolated", "judge", mounts(mount(projectDir, "/w", policy.ReadWrite)), sandbox.CodeSource, projectDir + " cannot be given rw with map isolated: the caller's own id is not in the sandbox, so nothing in it may be written\n  fix: use access copy, or --userns keep-id or single"},
		{"rw by root", "strict", func(w *world) {
			mounts(mount(projectDir, "/w", policy.ReadWrite))(w)
			byRoot(w.host)
		}, sandbox.CodeSource, projectDir + " cannot be given rw: called by root, brig maps unprivileged ids only, and none of them owns it\n  fix: run brig as the user whose directory it is, or use access copy or ro"},
		{"cow of a file", "default", mounts(mount(projectDir+"/input", "/w", policy.CopyOnWrite)), sandbox.CodeSource, projectDir + "/input cannot be given copy-on-write: it is not a directory\n  fix: use access copy or ro for a file"},
		{"cow over a nested mount", "default", func(w *world) {
			w.host.Mounts = append(w.host.Mounts, probe.Mount{Point: projectDir + "/cache", FSType: "fuse"})
		}, sandbox.CodeSource, projectDir + " cannot be given copy-on-write: a fuse is mounted below it at " + projectDir + "/cache, and overlayfs takes no mounts below a layer\n  fix: give a directory without mounts, unmount it, or use access ro or copy"},
		{"cow without overlayfs", "default", func(w *world) { w.host.Overlay = probe.Fact{Cause: "no such file system"} }, sandbox.CodeHost, projectDir + " cannot be given copy-on-write: overlayfs cannot be mounted here: no such file system\n  fix: give it with access ro, rw or copy"},
		{"no such program to copy", "judge", func(w *world) { w.spec.Args = []string{"./b.out"} }, sandbox.CodeNotFound, "./b.out: no such file\n  fix: check the path: it is looked up on the host and copied in"},
		{"a directory to copy", "judge", func(w *world) { w.spec.Args = []string{projectDir + "/../project"} }, sandbox.CodeSource, "command " + projectDir + " is a dir, not a program\n  fix: check the path"},

		{"more CPUs than the host has", "strict", func(w *world) { w.p.Limits.CPUs = 9 }, sandbox.CodeLimit, "cpus 9: the range on this host is 0.01 to 8.00\n  fix: ask for fewer"},
		{"half a CPU", "strict", func(w *world) { w.host.Cgroups, w.p.Limits.CPUs = nil, 0.5 }, sandbox.CodeLimit, `limit cpus = 0.5 cannot be held here: without the cpu controller only whole CPUs can be held, by affinity` + "\n" + `  fix: ask for 1, or set enforcement.limits = "best-effort" to run without it`},
		{"CPU of another", "strict", func(w *world) { w.p.Limits.CPUSet = "0,8" }, sandbox.CodeLimit, `cpuset "0,8": CPU 8 is not among those this process may use: 0-7` + "\n  fix: choose among these"},
		{"no CPU list", "strict", func(w *world) { w.p.Limits.CPUSet = "0-" }, sandbox.CodeLimit, `cpuset "0-": "0-" is no range of CPUs below 1024` + "\n" + `  fix: write a list like "0-1,3"`},
		{"little memory", "strict", func(w *world) { w.host.Cgroups, w.p.Limits.Memory = nil, 4096 }, sandbox.CodeLimit, "memory 4KiB is less than any program needs\n  fix: ask for at least 1MiB"},
		{"little memory in a group", "strict", func(w *world) { w.p.Limits.Memory = 1 << 20 }, sandbox.CodeLimit, "memory 1MiB is less than the sandbox itself needs\n  fix: ask for at least 4MiB"},
		{"kernel only", "strict", func(w *world) { w.p.Enforcement.Limits = policy.KernelOnly }, sandbox.CodeLimit, `limit cpu_time = 30s: the kernel does not hold it here, and enforcement.limits is "kernel"` + "\n" + `  fix: set enforcement.limits = "kernel-or-supervised" to let brig's supervisor hold it`},
		{"CPU weight", "strict", func(w *world) { w.host.Cgroups, w.p.Limits.CPUWeight = nil, 50 }, sandbox.CodeLimit, "limit cpu_weight = 50 cannot be held here: " + noGroup + orBestEffort},
		{"memory nodes", "strict", func(w *world) { w.host.Cgroups, w.p.Limits.CPUSetMems = nil, "0" }, sandbox.CodeLimit, "limit cpuset_mems = 0 cannot be held here: " + noGroup + orBestEffort},
		{"memory nodes without the controller", "strict", func(w *world) { w.p.Limits.CPUSetMems = "0" }, sandbox.CodeLimit, "limit cpuset_mems = 0 cannot be held here: the controller cpuset is not delegated to the caller\n  fix: let an administrator read and run what brig doctor --fix-script prints, which writes " + probe.DelegateDropIn + orBestEffort},
		{"I/O", "strict", func(w *world) {
			w.host.Cgroups, w.p.Limits.IO = nil, []policy.IOLimit{{Device: "/", ReadBPS: 1000, WriteIOPS: 5}}
		}, sandbox.CodeLimit, "limit io = / rbps=1000 wiops=5 cannot be held here: " + noGroup + orBestEffort},
		{"I/O without the controller", "strict", func(w *world) { w.p.Limits.IO = []policy.IOLimit{{Device: "/", WriteBPS: 1}} }, sandbox.CodeLimit, "limit io = / wbps=1 cannot be held here: the controller io is not delegated to the caller\n  fix: let an administrator read and run what brig doctor --fix-script prints, which writes " + probe.DelegateDropIn + orBestEffort},
		{"I/O on no disk", "strict", func(w *world) {
			w.host.Cgroups.ManagerControllers = []string{"io"}
			w.host.Devices = map[string]probe.Device{"/": {Problem: "it is btrfs", Fix: "name the disk"}}
			w.p.Limits.IO = []policy.IOLimit{{Device: "/", WriteBPS: 1}}
		}, sandbox.CodeLimit, "limit io = / wbps=1 cannot be held here: it is btrfs\n  fix: name the disk" + orBestEffort},
		{"I/O on a disk twice", "strict", func(w *world) {
			w.host.Cgroups.ManagerControllers = []string{"io"}
			w.host.Devices = map[string]probe.Device{"/": {Major: 8, Name: "sda"}, "/dev/sda1": {Major: 8, Name: "sda"}}
			w.p.Limits.IO = []policy.IOLimit{{Device: "/", WriteBPS: 1}, {Device: "/dev/sda1", WriteBPS: 2}}
		}, sandbox.CodeLimit, "limits.io names the disk sda twice: by / and by /dev/sda1\n  fix: put all its rates into one entry"},
		{"swap that is not accounted", "strict", func(w *world) { w.host.Cgroups.NoSwapLimit, w.p.Limits.Swap = true, 1<<20 }, sandbox.CodeLimit, "limit swap = 1MiB cannot be held here: the kernel does not account swap\n  fix: boot it with swapaccount=1" + orBestEffort},
		{"unknown manager", "strict", func(w *world) { w.spec.CgroupManager = "docker\x1b" }, sandbox.CodeBadSpec, `cgroup manager "docker\x1b"` + "\n  fix: use systemd, cgroupfs or none, or leave it out"},
		{"no tree for cgroupfs", "strict", func(w *world) { w.spec.CgroupManager = "cgroupfs" }, sandbox.CodeCgroup, `cgroup manager "cgroupfs" cannot be used here: no part of the tree of control groups is the caller's to divide` + "\n  fix: start brig in a service with Delegate=yes, or use --cgroup-manager systemd"},
		{"no systemd", "strict", func(w *world) {
			w.spec.CgroupManager, w.host.Cgroups.Manager, w.host.Scope = "systemd", "", probe.Fact{Cause: "there is none", Fix: "log in"}
		}, sandbox.CodeCgroup, `cgroup manager "systemd" cannot be used here: there is none` + "\n  fix: log in"},
		{"none, and a limit that needs one", "strict", func(w *world) { w.spec.CgroupManager, w.p.Limits.CPUWeight = "none", 50 }, sandbox.CodeLimit, "limit cpu_weight = 50 cannot be held here: only a control group can hold it, and none can be made: the cgroup manager is \"none\"\n  fix: leave --cgroup-manager out" + orBestEffort},

		{"ids that are not mapped", "judge", func(w *world) { w.p.User.UID = 70000 }, sandbox.CodeIDs, "the job's ids 70000:1000 are not mapped: uid 70000 does not exist in the sandbox, whose map has 0-65535\n  fix: choose other ids with --user or another mapping with --userns"},
		{"group of root", "strict", func(w *world) { w.host.GID = 0 }, sandbox.CodeIDs, `map "keep-id" would map a host id 0: the caller's group is root's, and root is never mapped` + "\n  fix: run brig with another group (newgrp, or runAsGroup in a pod), or use --userns isolated"},
		{"keep-id without a range", "strict", func(w *world) {
			w.p.User.Map = policy.MapKeepID
			w.host.SubIDs, w.host.SubIDsProblem = userns.SubIDs{}, "alice has no range"
		}, sandbox.CodeIDs, `map "keep-id" needs subordinate ids: alice has no range` + "\n  fix: give the user a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice"},
		{"isolated without the tools", "judge", func(w *world) { w.host.ToolsProblem = "newuidmap is not installed" }, sandbox.CodeIDs, `map "isolated" needs subordinate ids: newuidmap is not installed` + "\n  fix: install the package uidmap (on Fedora shadow-utils), or use --userns single"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{p: shipped(t, tt.policy), host: recorded(t, "full")}
			w.spec = specOf(w.p, "./a.out")
			if _, err := sandbox.Resolve(w.spec, w.host); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(w)
			_, err := sandbox.Resolve(w.spec, w.host)
			if !errors.Is(err, &sandbox.Error{Code: tt.code}) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// Best effort runs without what cannot be held, and says so.
func TestResolveBestEffort(t *testing.T) {
	p := shipped(t, "strict")
	p.Enforcement.Limits = policy.BestEffort
	p.Limits.CPUs, p.Limits.CPUWeight, p.Limits.MemoryHigh = 0.5, 50, 1<<20
	res, err := sandbox.Resolve(specOf(p, "true"), recorded(t, "no-cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{"cpus": true, "cpu_weight": true, "memory_high": true}
	for _, l := range res.Limits {
		if !left[l.Limit] {
			continue
		}
		delete(left, l.Limit)
		if l.EnforcedBy != sandbox.ByNobody || l.Mechanism != "none" || len(l.Holes) != 1 || l.Holes[0] != "nothing on this host holds it" {
			t.Errorf("%+v", l)
		}
	}
	if len(left) > 0 {
		t.Errorf("no word of %v", left)
	}
}

// Root's own ids are in no mapping, whatever the mapping; and the first process
// is cloned with an id of the range.
func TestResolveForRoot(t *testing.T) {
	for _, name := range []policy.UserMap{policy.MapIsolated, policy.MapKeepID, policy.MapSingle, policy.MapAuto} {
		p := shipped(t, "strict")
		p.User.Map = name
		host := recorded(t, "full")
		byRoot(host)
		res, err := sandbox.Resolve(specOf(p, "true"), host)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ids := res.Plan.IDs
		if ids.CloneUID < 1<<20 || ids.CloneGID < 1<<20 || ids.By != plan.ByParent {
			t.Errorf("%s: %+v", name, ids)
		}
		for _, m := range append(ids.UID, ids.GID...) {
			if m.Outside < 1<<20 || m.Outside+m.Count > 1<<20+65536 {
				t.Errorf("%s maps %+v", name, m)
			}
		}
	}
}

// Init's ids are none that a job is given, where there is more than one.
func TestInitHasIDsOfItsOwn(t *testing.T) {
	for _, uid := range []uint32{0, 1, 1000, 65535} {
		p := shipped(t, "judge")
		p.User.UID, p.User.GID = uid, uid
		res, err := sandbox.Resolve(specOf(p, "./a.out"), recorded(t, "full"))
		if err != nil {
			t.Errorf("user %d: %v", uid, err)
			continue
		}
		init, job := res.Plan.Find(plan.InitIDs), res.Plan.Find(plan.JobIDs)
		if init.UID == job.UID || init.GID == job.GID || job.UID != uid {
			t.Errorf("init is %d:%d, the job %d:%d", init.UID, init.GID, job.UID, job.GID)
		}
	}
}

// A mount below another's target is made after it, and its mount point inside
// it; a target is never lost behind a later mount.
func TestMountsBelowMounts(t *testing.T) {
	p := shipped(t, "strict")
	p.Filesystem.Mounts = []policy.Mount{
		mount(projectDir+"/input", "/work/in/file", policy.ReadOnly),
		{Type: policy.Tmpfs, Target: "/work/in", Size: 1 << 20},
		mount(projectDir, "/work", policy.ReadOnly),
	}
	res, err := sandbox.Resolve(specOf(p, "true"), recorded(t, "full"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range res.Plan.Ops {
		if op := &res.Plan.Ops[i]; strings.HasPrefix(op.Target, "/work") {
			got = append(got, op.Kind.String()+" "+op.Target)
		}
	}
	want := "mkdir /work, bind /work, mountpoint /work/in, tmpfs /work/in, mountpoint /work/in/file, bind /work/in/file"
	if s := strings.Join(got, ", "); !strings.HasPrefix(s, want) {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestCandidates(t *testing.T) {
	tests := []struct{ command, path, want string }{
		{"make", "/usr/local/bin:/usr/bin", "/usr/local/bin/make /usr/bin/make"},
		{"make", "bin::.:/usr/bin", "/usr/bin/make"},
		{"make", "", "/usr/bin/make"},
		{"make", "/usr/bin/../bin/", "/usr/bin/make"},
		{"./make", "/usr/bin", "./make"},
		{"/opt/make", "/usr/bin", "/opt/make"},
	}
	for _, tt := range tests {
		spec := specOf(shipped(t, "strict"), tt.command)
		spec.Env = []string{"PATH=/wrong", "PATH=" + tt.path}
		res, err := sandbox.Resolve(spec, recorded(t, "full"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(res.Plan.Find(plan.Exec).Write, " "); got != tt.want {
			t.Errorf("%s along %q: %s, want %s", tt.command, tt.path, got, tt.want)
		}
	}
}

// On the caller's network abstract Unix sockets are the host's: a display takes
// whoever has the caller's id for the caller. And /etc/resolv.conf is a link on
// every host with systemd-resolved.
func TestResolveHostNetwork(t *testing.T) {
	const note = "and every abstract Unix socket of this host, such as a display's: Landlock cannot forbid it before Linux 6.12"
	for _, tt := range []struct {
		abi          int
		ok           bool
		scope        string
		noted        bool
		link, copied string
	}{
		{6, true, plan.ScopeAbstract, false, "../run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/stub-resolv.conf"},
		{7, true, plan.ScopeAbstract, false, "/mnt/wsl/resolv.conf", "/mnt/wsl/resolv.conf"},
		{5, true, "", true, "", "/etc/resolv.conf"},
		{0, false, "", true, "", "/etc/resolv.conf"},
	} {
		p, host := shipped(t, "strict"), recorded(t, "full")
		p.Network.Mode = policy.NetworkHost
		host.LandlockABI, host.Landlock.OK = tt.abi, tt.ok
		host.Files["/etc/resolv.conf"] = probe.File{Type: probe.Regular}
		if tt.link != "" {
			host.Files["/etc/resolv.conf"] = probe.File{Type: probe.Symlink, Link: tt.link}
		}
		res, err := sandbox.Resolve(specOf(p, "true"), host)
		if err != nil {
			t.Fatal(err)
		}
		if op := res.Plan.Find(plan.Landlock); (op != nil) != tt.ok || op != nil && op.Data != tt.scope {
			t.Errorf("ABI %d: %+v", tt.abi, op)
		}
		if noted := slices.Contains(res.Plan.Notes, note); noted != tt.noted {
			t.Errorf("ABI %d: notes %q", tt.abi, res.Plan.Notes)
		}
		if op := res.Plan.Find(plan.Copy); op == nil || op.Source != tt.copied || op.Target != "/etc/resolv.conf" {
			t.Errorf("resolv.conf -> %q: %+v", tt.link, op)
		}
	}
}
