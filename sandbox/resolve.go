package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// Resolution is a plan with what else is needed to carry it out.
type Resolution struct {
	Plan *plan.Plan
	// Limits says for each limit of the policy which mechanism holds it here.
	Limits []LimitPlan
	// FilterKey names the job's seccomp filter; empty for none.
	FilterKey string
	// Filter are the facts that FilterKey was made of.
	Filter        seccomp.Settings
	FilterOptions seccomp.Options
}

// resolver is the state of one Resolve: ops are collected by where they belong
// and put into the one safe order at the end.
type resolver struct {
	spec  *Spec
	p     *policy.Policy
	host  *probe.Host
	early func(*launch.Beginning)
	res   *Resolution
	plan  *plan.Plan

	open   []plan.Op // sources
	tree   []plan.Op // what is made before the root is entered
	mounts []plan.Op // what is mounted into it
	setup  []plan.Op // what comes before the pivot and needs no mount
	made   map[string]bool
	write  []string // writable paths, for Landlock
	root   plan.Op
	job    []plan.Op // rlimits
	tmpfs  []string  // descriptors of further tmpfs, for the supervisor

	group   groupPlan
	handles int
	groups  []uint32
	workdir string
	pinned  bool     // to some CPUs, by affinity
	copied  []copied // given cow, and copied nevertheless
	upper   int      // handle of the directory for overlays' uppers; 0 for the scratch
}

// Resolve turns a spec and the facts about a host into a plan, or says what is
// missing. It is pure: the same spec and host give the same plan. Its errors
// are *Error.
func Resolve(spec *Spec, host *probe.Host) (*Resolution, error) { return resolve(spec, host, nil) }

// resolve is Resolve. It hands early what a child can begin with, as soon as that
// is known; nil for nobody.
func resolve(spec *Spec, host *probe.Host, early func(*launch.Beginning)) (*Resolution, error) {
	r := &resolver{spec: spec, p: spec.Policy, host: host, early: early, made: map[string]bool{"/": true}}
	// A plan has about a hundred ops: room for them at once.
	r.open, r.tree, r.mounts = make([]plan.Op, 0, 24), make([]plan.Op, 0, 56), make([]plan.Op, 0, 40)
	r.plan = &plan.Plan{Version: plan.Version, Stdio: plan.Pipes}
	r.res = &Resolution{Plan: r.plan}
	r.plan.Notes = append(r.plan.Notes, spec.Notes...)
	if spec.Terminal != nil {
		r.plan.Stdio = plan.Terminal
	}
	if s := spec.Stop; s.Signal != 0 && s.Timeout > 0 {
		r.note("asked to end, the job gets %s and has %s", signalName(s.Signal), s.Timeout)
	}
	for _, step := range []func() error{
		r.checkSpec, r.checkImage, r.checkHost, r.resolveNamespaces, r.resolveIDs, r.resolveGroups, r.resolveCgroup, r.resolveRoot, r.begin,
		r.resolveMounts, r.checkKeep, r.resolveDelegation, r.resolveLimits, r.resolveFilter,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	r.assemble()
	if err := plan.Check(r.plan); err != nil {
		return nil, fmt.Errorf("brig made a plan that is not safe, please report this: %w", err)
	}
	return r.res, nil
}

// maxArgs bounds argv and environment, each; the kernel's own bound, a quarter
// of the stack limit and 6 MiB at the most, is found at the exec.
const maxArgs = 16 << 20

func (r *resolver) checkSpec() error {
	if len(r.spec.Args) == 0 || r.spec.Args[0] == "" {
		return newError(CodeNoCommand, "no command to run", "name one: brig run -- COMMAND [ARG...]")
	}
	for what, list := range map[string][]string{"argument": r.spec.Args, "environment variable": r.spec.Env} {
		size := 0
		for i, s := range list {
			size += len(s) + 1
			if strings.ContainsRune(s, 0) {
				return newError(CodeBadSpec, fmt.Sprintf("%s %d holds a NUL byte: %s", what, i, SafeText(clip(s))), "remove it: the kernel ends strings there")
			}
		}
		if size > maxArgs {
			return newError(CodeTooLong, fmt.Sprintf("%s list of %d bytes, the most is %d", what, size, maxArgs), "pass long input as a file or on stdin")
		}
	}
	if h := r.spec.Hostname; h == "" || len(h) > 64 || strings.ContainsFunc(h, notHostname) {
		return newError(CodeBadSpec, fmt.Sprintf("host name %q", clip(h)), "use 1 to 64 letters, digits, dots and hyphens")
	}
	return nil
}

func notHostname(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.'
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// checkHost refuses hosts on which no sandbox can be made.
func (r *resolver) checkHost() error {
	if !r.host.Kernel.AtLeast(5, 14) {
		return newError(CodeKernel, fmt.Sprintf("kernel %s is older than 5.14", r.host.Kernel.Release), "run brig on a newer kernel")
	}
	for _, f := range []struct {
		name string
		fact probe.Fact
	}{
		{"user namespaces", r.host.UserNS},
		{"recursive read-only mounts", r.host.MountAttr},
		{"a procfs of the sandbox's own", r.host.Proc},
	} {
		if !f.fact.OK {
			return newError(CodeHost, f.name+" cannot be had here: "+f.fact.Cause, f.fact.Fix)
		}
	}
	return nil
}

func (r *resolver) resolveNamespaces() error {
	r.plan.Namespaces = []plan.Namespace{plan.User, plan.Mount, plan.PID, plan.IPC, plan.UTS}
	switch r.p.Network.Mode {
	case policy.NetworkNone:
		if !r.host.NetNS.OK {
			return newError(CodeHost, "a network stack of the sandbox's own cannot be had here: "+r.host.NetNS.Cause, r.host.NetNS.Fix)
		}
		r.plan.Namespaces = append(r.plan.Namespaces, plan.Net)
		if r.p.Network.Loopback {
			r.setup = append(r.setup, plan.Op{Kind: plan.Loopback})
		}
	case policy.NetworkHost:
		r.note("the job shares the caller's network: it reaches every service on this host's loopback")
		if r.scope() == "" {
			r.note("and every abstract Unix socket of this host, such as a display's: Landlock cannot forbid it before Linux 6.12")
		}
	default:
		return newError(CodeBadSpec, fmt.Sprintf("network mode %q is not offered", r.p.Network.Mode), `use "none" or "host"`)
	}
	r.setup = append(r.setup, plan.Op{Kind: plan.Hostname, Data: r.spec.Hostname})
	return nil
}

// scope is what Landlock adds where the network namespace is the caller's.
// Abstract Unix sockets belong to that namespace, and a display takes whoever
// connects with the caller's id for the caller.
func (r *resolver) scope() string {
	const abiOfScopes = 6
	if r.p.Network.Mode == policy.NetworkHost && r.host.Landlock.OK && r.host.LandlockABI >= abiOfScopes {
		return plan.ScopeAbstract
	}
	return ""
}

func (r *resolver) note(format string, args ...any) {
	r.plan.Notes = append(r.plan.Notes, fmt.Sprintf(format, args...))
}

// resolveFilter names the filter and adds Landlock's rules.
func (r *resolver) resolveFilter() error {
	if r.p.Seccomp.Base == seccomp.BaseNone && len(r.p.Seccomp.Deny)+len(r.p.Seccomp.Rules) == 0 {
		r.note("no seccomp filter: the policy says so")
		return nil
	}
	if !r.host.Seccomp.OK {
		return newError(CodeHost, "seccomp filters cannot be loaded here: "+r.host.Seccomp.Cause, r.host.Seccomp.Fix)
	}
	r.res.Filter = r.p.Seccomp
	r.res.FilterOptions.Caps = r.p.User.Capabilities
	if r.pinned && !slices.Contains(r.res.Filter.Deny, "sched_setaffinity") {
		// Else the job could widen its own mask again.
		r.res.Filter.Deny = append(slices.Clone(r.res.Filter.Deny), "sched_setaffinity")
	}
	r.res.FilterKey = seccomp.Key(r.res.Filter, r.res.FilterOptions, r.host.Arch)
	return nil
}

// scratch is the op that mounts it.
func (r *resolver) scratch() plan.Op {
	l := &r.p.Limits
	return plan.Op{Kind: plan.Scratch, Size: int64(l.Scratch), Inodes: int64(l.ScratchInodes), Mode: 0o755}
}

// begin lets a child begin with what is known by now, which takes it about as
// long as the rest of the plan takes. With a control group it waits: what init
// makes is to be the group's, and it is moved there before its ids change.
func (r *resolver) begin() error {
	if r.early == nil || r.plan.IDs.By != plan.ByInit || r.group.driver != "" || r.spec.StopAt > 0 {
		return nil
	}
	cow := func(m policy.Mount) bool { return m.Access == policy.CopyOnWrite }
	b := &launch.Beginning{IDs: r.plan.IDs, Scratch: r.scratch(), Capabilities: r.p.User.Capabilities, Tree: r.tree[:len(r.tree):len(r.tree)]}
	b.Below = r.root.Flags.Has(plan.InSource) || slices.ContainsFunc(r.p.Filesystem.Mounts, cow)
	if i := slices.IndexFunc(b.Tree, func(op plan.Op) bool { return op.Source != "" }); i >= 0 {
		b.Tree = b.Tree[:i] // its content is read later
	}
	r.early(b)
	return nil
}

// assemble puts the ops into the one safe order.
func (r *resolver) assemble() {
	pl, ids := r.plan, &r.plan.IDs
	ops := make([]plan.Op, 0, 64+len(r.open)+len(r.tree)+len(r.mounts))
	add := func(list ...plan.Op) { ops = append(ops, list...) }
	add(plan.Op{Kind: plan.CloseDescriptors})
	r.noteNoGroup()
	initGroup, jobGroup := r.groupOps()
	add(initGroup...)
	add(plan.Op{Kind: plan.MapIDs, Data: string(ids.By)})
	if r.host.CgroupNS.OK && initGroup == nil {
		add(plan.Op{Kind: plan.CgroupNamespace})
	}
	add(plan.Op{Kind: plan.PrivateMounts})
	add(r.open...)
	initID := r.setupIDs(add)
	add(r.scratch())
	if r.upper != 0 {
		op := plan.Op{Kind: plan.Upper, Handle: r.upper}
		if r.spec.Keep != nil {
			op.Flags = plan.Kept
		}
		add(op)
	}
	add(r.tree...)
	add(r.root)
	for i := range r.mounts {
		if !r.copiedBefore(&r.mounts[i]) {
			add(r.mounts[i])
		}
	}
	add(r.setup...)
	add(plan.Op{Kind: plan.Pivot})
	if r.p.Filesystem.ReadOnly {
		add(plan.Op{Kind: plan.ReadOnlyRoot})
	}
	add(plan.Op{Kind: plan.Fork})

	add(initID, plan.Op{Kind: plan.InitDrop})
	ready := append([]string{launch.ReadyProc, launch.ReadyScratch, launch.ReadyPidfd, launch.ReadyShm}, r.tmpfs...)
	if pl.Stdio == plan.Terminal {
		ready = append(ready, launch.ReadyMaster)
	}
	add(plan.Op{Kind: plan.Ready, Names: ready}, plan.Op{Kind: plan.Release})

	add(jobGroup...)
	add(plan.Op{Kind: plan.Session})
	add(r.job...)
	add(plan.Op{Kind: plan.JobIDs, UID: r.p.User.UID, GID: r.p.User.GID, Groups: r.groups, Flags: initID.Flags})
	add(plan.Op{Kind: plan.Capabilities, Names: r.p.User.Capabilities})
	add(plan.Op{Kind: plan.Chdir, Target: r.workdir}, plan.Op{Kind: plan.NoNewPrivs})
	if r.host.Landlock.OK {
		read := []string{"/"}
		write := r.write
		if r.root.Flags.Has(plan.InSource) && !r.p.Filesystem.ReadOnly {
			read, write = nil, []string{"/"}
		}
		add(plan.Op{Kind: plan.Landlock, Names: read, Write: write, Data: r.scope()})
	} else {
		r.note("no Landlock: %s", r.host.Landlock.Cause)
	}
	add(plan.Op{Kind: plan.AwaitInit})
	if r.res.FilterKey != "" {
		add(plan.Op{Kind: plan.Seccomp, Data: r.res.FilterKey})
	}
	add(plan.Op{Kind: plan.Exec, Names: r.spec.Args, Write: r.candidates()})
	pl.Ops = ops
}

// candidates are the paths at which the command may be: itself where it has a
// slash, else below each directory of the job's PATH.
func (r *resolver) candidates() []string {
	name := r.spec.Args[0]
	if strings.ContainsRune(name, '/') {
		if copied := r.copiedCommand(); copied != "" {
			return []string{copied}
		}
		return []string{name}
	}
	var list []string
	for _, dir := range strings.Split(getenv(r.spec.Env, "PATH"), ":") {
		if path.IsAbs(dir) {
			list = append(list, path.Join(dir, name))
		}
	}
	if len(list) == 0 {
		list = []string{path.Join("/usr/bin", name)}
	}
	return list
}
