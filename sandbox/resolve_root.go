package sandbox

import (
	"fmt"
	"path"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// systemDirs are the top directories of a host that hold programs. They are
// given read-only, or, where they are links, made again as links.
var systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/gnu"}

// systemEtc is the part of /etc that programs need to start: the dynamic
// loader's cache, Debian's alternatives, certificates, the time zone. The rest
// of /etc stays unseen.
var systemEtc = []string{"/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl", "/etc/pki", "/etc/crypto-policies", "/etc/localtime", "/etc/os-release"}

// resolvConf is given where the job shares the caller's network.
const resolvConf = "/etc/resolv.conf"

// devices are the character devices every sandbox has, with their numbers: a
// source that is anything else is refused.
var devices = []struct {
	name         string
	major, minor uint64
}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}

// masked are files of procfs that tell about the host or its users. A name
// that ends in a slash is a directory.
var masked = []string{
	"/proc/acpi/", "/proc/asound/", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi/", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/timer_stats",
}

// Question is what Resolve must know about the host for this spec.
func (s *Spec) Question() probe.Question {
	q := probe.Question{SubIDs: s.Policy.User.Map != "single", Online: s.Policy.Limits.CPUs > 0, NoCgroups: s.CgroupManager == CgroupNone}
	q.Nodes = s.Policy.Limits.CPUSetMems != ""
	q.WhyNoCgroup = needsGroup(&s.Policy.Limits) || s.CgroupManager != "" && s.CgroupManager != CgroupNone
	for _, io := range s.Policy.Limits.IO {
		q.Devices = append(q.Devices, io.Device)
	}
	fsys := &s.Policy.Filesystem
	if fsys.Root == "host" {
		q.Paths = append(append(q.Paths, systemDirs...), systemEtc...)
	} else if dir, ok := strings.CutPrefix(fsys.Root, "dir:"); ok {
		q.Paths = append(q.Paths, dir)
	}
	for dir := s.home(); dir != ""; dir = parent(dir) {
		q.Paths = append(q.Paths, dir)
	}
	q.Paths = append(q.Paths, "/proc")
	for _, p := range masked {
		q.Paths = append(q.Paths, strings.TrimSuffix(p, "/"))
	}
	if s.Policy.Network.Mode == "host" {
		q.Paths = append(q.Paths, resolvConf)
	}
	q.Paths = append(q.Paths, s.Layers...)
	for _, m := range fsys.Mounts {
		if m.Source != "" {
			q.Paths = append(q.Paths, m.Source)
		}
	}
	if src := s.commandSource(); src != "" {
		q.Paths = append(q.Paths, src)
	}
	return q
}

func (r *resolver) resolveRoot() error {
	fsys := &r.p.Filesystem
	r.root = plan.Op{Kind: plan.Root}
	for _, dir := range []string{"/dev", "/dev/pts", "/etc", "/proc"} {
		r.mkdir(dir, 0o755, false)
	}
	r.mkdir("/dev/shm", 0o1777, false)
	r.mkdir("/tmp", 0o1777, false)
	switch dir, isDir := strings.CutPrefix(fsys.Root, "dir:"); {
	case len(r.spec.Layers) > 0:
		r.writable("/dev", "/proc")
		if err := r.layeredRoot(); err != nil {
			return err
		}
	case fsys.Root == "host":
		for _, d := range []string{"/home", "/run", "/var"} {
			r.mkdir(d, 0o755, false)
		}
		r.mkdir("/var/tmp", 0o1777, false)
		r.symlink("/var/run", "../run")
		r.writable("/dev", "/tmp", "/var/tmp", "/run", "/proc")
		r.hostRoot()
	case isDir:
		r.writable("/dev", "/proc")
		if err := r.dirRoot(dir); err != nil {
			return err
		}
	default:
		return newError(CodeBadSpec, fmt.Sprintf("root file system %q is not offered", fsys.Root), `use "host", "dir:PATH" or "image:REFERENCE"`)
	}
	u := jobUser(r.p)
	if len(r.spec.Layers) == 0 {
		r.mkdir(u.home, 0o700, true) // an image's users have homes of its own
		r.writable(u.home)
	}
	r.initLayer(u)
	r.resolveDev()
	r.mounts = append(r.mounts, plan.Op{Kind: plan.Proc, Target: "/proc", Flags: plan.NoFollow})
	for _, p := range masked {
		if r.host.Files[strings.TrimSuffix(p, "/")].Type == probe.Absent {
			continue // no kernel has all of them
		}
		op := plan.Op{Kind: plan.Mask, Target: strings.TrimSuffix(p, "/")}
		if op.Target != p {
			op.Flags = plan.Directory
		}
		r.mounts = append(r.mounts, op)
	}
	// No namespace of its own for what runs inside, with or without a filter.
	r.setup = append(r.setup,
		plan.Op{Kind: plan.Sysctl, Target: "sys/user/max_user_namespaces", Data: "0"},
		plan.Op{Kind: plan.OOMScore, Data: "500"})
	if r.p.User.UID == 0 || len(r.p.User.Capabilities) > 0 {
		// Root inside owns the settings of its namespaces, limits among them.
		r.setup = append(r.setup, plan.Op{Kind: plan.Protect, Target: "/proc/sys"})
	}
	return nil
}

// hostRoot gives the host's programs.
func (r *resolver) hostRoot() {
	for _, list := range [][]string{systemDirs, systemEtc} {
		for _, p := range list {
			switch f := r.host.Files[p]; f.Type {
			case probe.Symlink:
				r.symlink(p, f.Link)
			case probe.Dir:
				r.mkdir(p, 0o755, false)
				r.bind(p, p, f, plan.ReadOnly|plan.NoSuid|plan.NoDev)
			case probe.Regular:
				r.file(p, "", 0o644)
				r.bind(p, p, f, plan.ReadOnly|plan.NoSuid|plan.NoDev)
			case probe.Absent, probe.Other, probe.Unknown:
			}
		}
	}
}

// dirRoot makes a directory of the host the lower layer of the root. What brig
// itself puts into the root is a layer of its own right above it.
func (r *resolver) dirRoot(dir string) error {
	f := r.host.Files[dir]
	switch {
	case f.Type != probe.Dir:
		return r.sourceError("root file system", dir, f, "a directory")
	case r.p.User.Map == "isolated" && r.host.UID != 0:
		r.note("files of the root file system that are the caller's own belong to nobody inside: map isolated")
	}
	if err := r.checkLower(dir); err != nil {
		return err
	}
	h := r.openSource(dir, f, plan.InPlace)
	r.root.Flags, r.root.Handle = plan.InSource, h
	return nil
}

// initLayer makes the files that tell the sandbox about itself. They lie above
// a root's own and never become part of it.
func (r *resolver) initLayer(u user) {
	uid, gid := r.p.User.UID, r.p.User.GID
	passwd, group := "root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\n"
	if uid != 0 {
		passwd += fmt.Sprintf("%s:x:%d:%d:%s:%s:/bin/sh\n", u.name, uid, gid, u.name, u.home)
	}
	if gid != 0 {
		group += fmt.Sprintf("%s:x:%d:\n", u.name, gid)
	}
	if uid != 65534 {
		passwd += "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	}
	if gid != 65534 {
		group += "nogroup:x:65534:\n"
	}
	name := r.spec.Hostname
	r.file("/etc/hostname", name+"\n", 0o644)
	r.file("/etc/hosts", "127.0.0.1 localhost "+name+"\n::1 localhost ip6-localhost ip6-loopback\n", 0o644)
	r.symlink("/etc/mtab", "../proc/self/mounts")
	if r.root.Flags.Has(plan.InSource) {
		// The root's own users are its own business.
		if r.p.Network.Mode != "host" {
			r.file(resolvConf, "", 0o644)
		}
	} else {
		r.file("/etc/passwd", passwd, 0o644)
		r.file("/etc/group", group, 0o644)
		r.file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", 0o644)
		if r.p.Network.Mode != "host" {
			r.file(resolvConf, "", 0o644)
		}
	}
	if f := r.host.Files[resolvConf]; r.p.Network.Mode == "host" && f.Type != probe.Absent {
		source := resolvConf
		if f.Type == probe.Symlink {
			// systemd-resolved's, and others': it leads out of /etc, which a copy
			// does not follow by itself.
			if source = f.Link; !path.IsAbs(source) {
				source = path.Join(path.Dir(resolvConf), source)
			}
		}
		if r.root.Flags.Has(plan.InSource) {
			// In the layer above the root's own, whose file it hides.
			r.made[resolvConf] = true
			r.tree = append(r.tree, plan.Op{Kind: plan.File, Source: path.Clean(source), Target: resolvConf, Mode: 0o644})
		} else {
			r.mounts = append(r.mounts, plan.Op{Kind: plan.Copy, Source: path.Clean(source), Target: resolvConf})
		}
	}
}

func (r *resolver) resolveDev() {
	for _, d := range devices {
		p := "/dev/" + d.name
		r.file(p, "", 0o666)
		h := r.nextHandle()
		r.open = append(r.open, plan.Op{
			Kind: plan.Open, Source: p, Handle: h, CharDevice: d.major<<8 | d.minor, Flags: plan.NoSuid | plan.NoExec,
		})
		r.mounts = append(r.mounts, plan.Op{Kind: plan.Bind, Handle: h, Target: p, Flags: plan.NoFollow})
	}
	r.mounts = append(r.mounts, plan.Op{Kind: plan.Devpts, Target: "/dev/pts", Flags: plan.NoFollow})
	for _, l := range [][2]string{
		{"ptmx", "pts/ptmx"},
		{"fd", "/proc/self/fd"},
		{"stdin", "/proc/self/fd/0"},
		{"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"},
	} {
		r.symlink("/dev/"+l[0], l[1])
	}
}

// mkdir makes a directory, and those above it, in the tree that becomes the
// root or lies right above it. The first mode given to a path counts.
func (r *resolver) mkdir(p string, mode uint32, owned bool) {
	if r.made[p] {
		return
	}
	r.mkdir(path.Dir(p), 0o755, false)
	r.made[p] = true
	op := plan.Op{Kind: plan.Mkdir, Target: p, Mode: mode}
	if owned {
		op.Flags = plan.JobOwned
	}
	r.tree = append(r.tree, op)
}

func (r *resolver) symlink(p, text string) {
	r.mkdir(path.Dir(p), 0o755, false)
	r.made[p] = true
	r.tree = append(r.tree, plan.Op{Kind: plan.Symlink, Target: p, Data: text})
}

func (r *resolver) file(p, text string, mode uint32) {
	r.mkdir(path.Dir(p), 0o755, false)
	r.made[p] = true
	r.tree = append(r.tree, plan.Op{Kind: plan.File, Target: p, Data: text, Mode: mode})
}

func (r *resolver) nextHandle() int { r.handles++; return r.handles }

func (r *resolver) openSource(p string, f probe.File, flags plan.Flags) int {
	h := r.nextHandle()
	r.open = append(r.open, plan.Op{Kind: plan.Open, Source: p, Handle: h, Device: f.Device, Inode: f.Inode, Flags: flags})
	return h
}

func (r *resolver) bind(source, target string, f probe.File, flags plan.Flags) {
	h := r.openSource(source, f, flags)
	r.mounts = append(r.mounts, plan.Op{Kind: plan.Bind, Handle: h, Target: target, Flags: plan.NoFollow})
}

func (r *resolver) writable(paths ...string) { r.write = append(r.write, paths...) }

// checkLower tells whether overlayfs can have dir as its lower layer.
func (r *resolver) checkLower(dir string) error {
	if !r.host.Overlay.OK {
		return newError(CodeHost, fmt.Sprintf("%s cannot be given copy-on-write: overlayfs cannot be mounted here: %s", SafeText(dir), r.host.Overlay.Cause),
			"give it with access ro, rw or copy")
	}
	if m := mountBelow(r.host.Mounts, dir); m != nil {
		return lowerHasMount(dir, m)
	}
	k := r.spec.Keep
	kept := ""
	if k != nil {
		kept = k.Dir
	} else if h := r.spec.Hold; h != nil {
		kept = h.Dir
	}
	if kept != "" && within(kept, dir) {
		return newError(CodeSource, fmt.Sprintf("%s cannot be given copy-on-write and kept: it holds %s, where what the job changes is kept", SafeText(dir), SafeText(kept)),
			"give a directory that does not, or set XDG_DATA_HOME to a directory elsewhere")
	}
	switch {
	case r.upper != 0:
	case k != nil:
		r.upper = r.openSource(k.Dir, probe.File{}, plan.NoSuid|plan.NoDev)
		r.note("what the job changes is kept in %s", SafeText(k.Dir))
	case !r.host.TmpfsXattr.OK:
		upper, err := plannedUpper(r.host)
		if err != nil {
			return err
		}
		r.upper = r.openSource(upper, probe.File{}, plan.NoSuid|plan.NoDev)
		r.note("what the job changes lies in a directory while it runs: %s", r.host.TmpfsXattr.Cause)
	}
	return nil
}

// mountBelow is the first mount below dir, or nil.
func mountBelow(mounts []probe.Mount, dir string) *probe.Mount {
	for i := range mounts {
		if p := mounts[i].Point; p != dir && strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/") {
			return &mounts[i]
		}
	}
	return nil
}

func lowerHasMount(dir string, m *probe.Mount) *Error {
	return newError(CodeSource, fmt.Sprintf("%s cannot be given copy-on-write: a %s is mounted below it at %s, and overlayfs takes no mounts below a layer",
		SafeText(dir), SafeText(m.FSType), SafeText(m.Point)), "give a directory without mounts, unmount it, or use access ro or copy")
}

// sourceError says why a source is not what it has to be.
func (r *resolver) sourceError(what, p string, f probe.File, want string) error {
	is := "is a " + string(f.Type)
	switch f.Type {
	case probe.Absent, "":
		return newError(CodeSource, fmt.Sprintf("%s %s does not exist", what, SafeText(p)), "check the path")
	case probe.Unknown:
		is = "cannot be looked at: " + f.Problem
	case probe.Symlink:
		return newError(CodeSource, fmt.Sprintf("%s %s is a symbolic link to %s", what, SafeText(p), SafeText(f.Link)), "name the directory itself")
	case probe.Dir, probe.Regular, probe.Other:
	}
	return newError(CodeSource, fmt.Sprintf("%s %s %s, not %s", what, SafeText(p), is, want), "check the path")
}
