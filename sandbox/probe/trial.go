package probe

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/userns"
)

// trial is one sandbox that tries what the facts in it promise.
type trial struct {
	ids   plan.IDs
	facts map[FactName]bool
	// lower is a directory of the host that an overlay can lie on, shell says
	// that the host's programs can be brought in.
	lower string
	shell bool
	// script is what the shell runs.
	script string

	writeMaps func(pid int) error
	// group is the control group to be made; nil for none.
	group *cgroup.Config
}

// mark is where the trial's job tries what only a running program can.
const mark = "/brig-probe"

// replaceLower removes a lower directory and makes it again, for which the upper one
// must take the attributes of a whiteout and of an opaque directory.
const replaceLower = "rmdir " + mark + " && mkdir " + mark

// systemDirs are where the host keeps its programs and their libraries.
var systemDirs = [...]string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// runsScript tells whether the trial ends with the script. Without it nothing
// is executed: that the job's process comes to look for a program that is not
// there shows that all before it worked.
func (t *trial) runsScript() bool {
	return t.shell && t.facts[TmpfsXattr] && t.facts[Overlay] && t.facts[MountAttr]
}

// plan returns the smallest plan with everything that is to be tried.
func (t *trial) plan() *plan.Plan {
	p := &plan.Plan{
		Version: plan.Version, IDs: t.ids, Stdio: plan.Pipes,
		Namespaces: []plan.Namespace{plan.User, plan.Mount, plan.PID, plan.IPC, plan.UTS},
		Ops:        []plan.Op{{Kind: plan.CloseDescriptors}},
	}
	if t.group != nil {
		p.Ops = append(p.Ops, plan.Op{Kind: plan.Cgroup, Data: t.group.Driver, Source: t.group.Parent})
	}
	p.Ops = append(p.Ops, plan.Op{Kind: plan.MapIDs})
	if t.facts[NetNS] {
		p.Namespaces = append(p.Namespaces, plan.Net)
	}
	add := func(ops ...plan.Op) { p.Ops = append(p.Ops, ops...) }
	try := func(name FactName, ops ...plan.Op) {
		if t.facts[name] {
			add(ops...)
		}
	}
	try(CgroupNS, plan.Op{Kind: plan.CgroupNamespace})
	add(plan.Op{Kind: plan.PrivateMounts})
	binds, made := t.sources(add)
	if t.ids.By == plan.ByHelper {
		// The caller's own id is not mapped, and what has no id makes nothing.
		add(plan.Op{Kind: plan.SetIDs, Flags: plan.KeepSetgrps})
	}
	add(plan.Op{Kind: plan.Scratch, Size: 1 << 20, Inodes: 1000, Mode: 0o755})
	for _, dir := range [...]string{"/proc", "/dev", "/dev/pts", mark} {
		add(plan.Op{Kind: plan.Mkdir, Target: dir, Mode: 0o755})
	}
	add(made...)
	root := plan.Op{Kind: plan.Root}
	if t.facts[Overlay] {
		root.Handle, root.Flags = 1, plan.InSource
	}
	add(root)
	add(binds...)
	try(Proc, plan.Op{Kind: plan.Proc, Target: "/proc"})
	try(Devpts, plan.Op{Kind: plan.Devpts, Target: "/dev/pts"})
	try(NetNS, plan.Op{Kind: plan.Loopback})
	add(plan.Op{Kind: plan.Pivot}, plan.Op{Kind: plan.Fork},
		plan.Op{Kind: plan.InitIDs, UID: t.inside(), GID: t.inside()}, plan.Op{Kind: plan.InitDrop},
		plan.Op{Kind: plan.Ready}, plan.Op{Kind: plan.Release})
	if t.group != nil {
		add(plan.Op{Kind: plan.JobCgroup})
	}
	add(plan.Op{Kind: plan.Session}, plan.Op{Kind: plan.JobIDs, UID: t.inside(), GID: t.inside()}, plan.Op{Kind: plan.Capabilities},
		plan.Op{Kind: plan.Chdir, Target: "/"}, plan.Op{Kind: plan.NoNewPrivs})
	try(Landlock, plan.Op{Kind: plan.Landlock, Names: []string{"/"}, Write: []string{"/"}})
	add(plan.Op{Kind: plan.AwaitInit})
	try(Seccomp, plan.Op{Kind: plan.Seccomp, Data: "allow everything"})
	if t.runsScript() {
		add(plan.Op{Kind: plan.Exec, Names: []string{"sh", "-c", t.script}, Write: []string{"/bin/sh"}})
	} else {
		add(plan.Op{Kind: plan.Exec, Names: []string{"probe"}, Write: []string{mark + "/nothing"}})
	}
	return p
}

// sources opens what comes from the host, and returns the binds of it with
// what makes their mount points.
func (t *trial) sources(add func(...plan.Op)) (binds, made []plan.Op) {
	if t.facts[Overlay] {
		add(plan.Op{Kind: plan.Open, Handle: 1, Source: t.lower, Flags: plan.InPlace})
	}
	if !t.facts[MountAttr] {
		return nil, nil
	}
	for i, dir := range systemDirs {
		f := Look(dir)
		switch f.Type {
		case Symlink:
			made = append(made, plan.Op{Kind: plan.Symlink, Target: dir, Data: f.Link})
		case Dir:
			add(plan.Op{Kind: plan.Open, Handle: 2 + i, Source: dir, Flags: plan.ReadOnly | plan.NoSuid | plan.NoDev})
			made = append(made, plan.Op{Kind: plan.Mkdir, Target: dir, Mode: 0o755})
			binds = append(binds, plan.Op{Kind: plan.Bind, Handle: 2 + i, Target: dir})
		case Absent, Regular, Other, Unknown:
		}
	}
	return binds, made
}

// inside is the id that the trial's processes have in its user namespace.
func (t *trial) inside() uint32 { return t.ids.UID[0].Inside }

// allowAll is a seccomp program of one instruction: return SECCOMP_RET_ALLOW.
// Codes and fields are those of struct sock_filter in the machine's order.
var allowAll = [8]byte{unix.BPF_RET | unix.BPF_K, 0, 0, 0, 0, 0, 0xff, 0x7f}

// errScript is what run returns when all worked but the script.
var errScript = errors.New("a lower directory could not be replaced")

// run carries the trial out: nil when everything in it works, a
// *launch.StepError for the op that does not, errScript, or what launch.Start
// returned.
func (t *trial) run(ctx context.Context) error {
	p := t.plan()
	if err := plan.Check(p); err != nil {
		return fmt.Errorf("a plan to try this host: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	var join launch.Group
	if t.group != nil {
		g, err := cgroup.Prepare(ctx, t.group)
		if err != nil {
			return err
		}
		defer func() { _ = g.Close() }() // the manager's to remove
		join = g
	}
	s, err := launch.Start(&launch.Config{
		Group: join, Context: ctx,
		Plan: p, Env: []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}, Stdio: [3]uintptr{null.Fd(), null.Fd(), null.Fd()},
		Filters: [][]byte{allowAll[:]}, WriteMaps: t.writeMaps,
	})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.Kill)
	end, err := await(s)
	if !stop() {
		err = context.Cause(ctx)
	}
	if _, cerr := s.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err != nil {
		return t.verdict(err)
	}
	if end.Status.Exited() && end.Status.ExitStatus() == 0 {
		return nil
	}
	return errScript
}

// await receives until the trial ends.
func await(s *launch.Sandbox) (launch.End, error) {
	for {
		m, err := s.Receive()
		switch {
		case err != nil:
			return launch.End{}, err
		case m.Failed != nil:
			return launch.End{}, m.Failed
		case m.End != nil && m.End.Failed != nil:
			return launch.End{}, m.End.Failed
		case m.End != nil:
			return *m.End, nil
		}
		for _, f := range m.Ready {
			f.Close()
		}
	}
}

// verdict tells the failure that was planned from one that was not.
func (t *trial) verdict(err error) error {
	var step *launch.StepError
	if errors.As(err, &step) && step.Op.Kind == plan.Exec && step.Errno == unix.ENOENT && !t.runsScript() {
		return nil
	}
	return err
}

// mapped turns mappings into those of a plan.
func mapped(m userns.Map) []plan.Mapping {
	list := make([]plan.Mapping, len(m))
	for i, e := range m {
		list[i] = plan.Mapping{Inside: e.Inside, Outside: e.Outside, Count: e.Count}
	}
	return list
}
