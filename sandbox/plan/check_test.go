package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// everything returns a plan that is safe and has an op of every kind.
func everything() *Plan {
	return &Plan{
		Version: Version, Stdio: Terminal,
		Namespaces: []Namespace{User, Mount, PID, IPC, UTS, Net},
		IDs: IDs{
			Map: "keep-id", By: ByHelper, CloneUID: 1000, CloneGID: 1000,
			UID: []Mapping{{0, 100000, 1000}, {1000, 1000, 1}, {1001, 101000, 64535}},
			GID: []Mapping{{0, 100000, 1000}, {1000, 1000, 1}, {1001, 101000, 64535}},
		},
		Ops: []Op{
			{Kind: CloseDescriptors},
			{Kind: MapIDs, Data: "newuidmap"},
			{Kind: CgroupNamespace},
			{Kind: PrivateMounts},
			{Kind: Open, Handle: 1, Source: "/usr", Device: 2050, Inode: 12, Flags: ReadOnly | NoSuid | NoDev},
			{Kind: Open, Handle: 2, Source: "/dev/null", CharDevice: 1<<8 | 3, Flags: NoSuid | NoExec},
			{Kind: Open, Handle: 3, Source: "/home/alice/project", Flags: InPlace},
			{Kind: Open, Handle: 4, Source: "/var/tmp/brig-upper", Flags: NoSuid | NoDev},
			{Kind: SetIDs, Flags: KeepSetgrps},
			{Kind: Scratch, Size: 1 << 30, Inodes: 1000, Mode: 0o755},
			{Kind: Upper, Handle: 4},
			{Kind: Mkdir, Target: "/usr", Mode: 0o755},
			{Kind: Symlink, Target: "/bin", Data: "usr/bin"},
			{Kind: File, Target: "/etc/hostname", Data: "brig\n", Mode: 0o644},
			{Kind: Root, Flags: InScratch},
			{Kind: Mountpoint, Target: "/usr/local/x", Flags: Directory},
			{Kind: Copy, Source: "/home/alice/a.out", Target: "/work/a.out"},
			{Kind: Bind, Handle: 1, Target: "/usr", Flags: NoFollow},
			{Kind: Bind, Handle: 2, Target: "/dev/null", Flags: NoFollow},
			{Kind: Overlay, Handle: 3, Target: "/work"},
			{Kind: Tmpfs, Target: "/cache", Size: -1, Inodes: -1, Mode: 0o1777},
			{Kind: Proc, Target: "/proc"},
			{Kind: Devpts, Target: "/dev/pts"},
			{Kind: Mask, Target: "/proc/kcore"},
			{Kind: Protect, Target: "/proc/sys"},
			{Kind: Sysctl, Target: "sys/user/max_user_namespaces", Data: "0"},
			{Kind: Hostname, Data: "brig"},
			{Kind: Loopback},
			{Kind: Affinity, Data: "0-1"},
			{Kind: OOMScore, Data: "500"},
			{Kind: Pivot},
			{Kind: ReadOnlyRoot},
			{Kind: Fork},
			{Kind: InitIDs, UID: 65535, GID: 65535, Flags: KeepSetgrps},
			{Kind: InitDrop},
			{Kind: Ready, Names: []string{"procfs", "job"}},
			{Kind: Release},
			{Kind: Hand},
			{Kind: Session},
			{Kind: Rlimit, Data: "core", Size: 1, Inodes: 1},
			{Kind: Rlimit, Data: "stack", Size: 8 << 20, Inodes: -1},
			{Kind: JobIDs, UID: 1000, GID: 1000, Groups: []uint32{4, 27}, Flags: KeepSetgrps},
			{Kind: Capabilities, Names: []string{"CAP_CHOWN"}},
			{Kind: Chdir, Target: "/work"},
			{Kind: NoNewPrivs},
			{Kind: Landlock, Names: []string{"/"}, Write: []string{"/tmp"}},
			{Kind: AwaitInit},
			{Kind: Seccomp, Data: "f7bfc7a8"},
			{Kind: Exec, Names: []string{"make", "test"}, Write: []string{"/usr/local/bin/make", "/usr/bin/make"}},
		},
		Limits: []Limit{{Name: "memory", Value: "2147483648", Mechanism: "poll"}},
		Notes:  []string{"map auto: one id only"},
	}
}

func (p *Plan) index(k Kind) int {
	return slices.IndexFunc(p.Ops, func(op Op) bool { return op.Kind == k })
}

// grouped is everything with a control group of the sandbox's own, which takes
// the place of the bare cgroup namespace.
func grouped() *Plan {
	p := everything()
	drop(CgroupNamespace)(p)
	p.Ops = slices.Insert(p.Ops, p.index(MapIDs), Op{
		Kind: Cgroup, Data: "systemd", Source: Slice, Names: []string{"memory.max=1048576"}, Write: []string{"pids.max=16"},
	})
	p.Ops = slices.Insert(p.Ops, p.index(Hand), Op{Kind: JobCgroup, Data: CgroupRoot})
	return p
}

func TestEveryKindInASafePlan(t *testing.T) {
	p, g, d := everything(), grouped(), delegated()
	if err := errors.Join(Check(p), Check(g), Check(d)); err != nil {
		t.Fatal(err)
	}
	for k := Kind(1); k < kindEnd; k++ {
		if p.Find(k) == nil && g.Find(k) == nil && d.Find(k) == nil {
			t.Errorf("the tests' plans lack %s", k)
		}
	}
}

// A control group is joined in one order, by both processes.
func TestCheckGroup(t *testing.T) {
	const both = "invalid plan: a control group is joined by init and by the job, whose cgroup namespace is made there"
	for _, tt := range []struct {
		name  string
		spoil func(*Plan)
		want  string
	}{
		{"job outside", drop(JobCgroup), both},
		{"init outside", drop(Cgroup), both},
		{"namespace before the move", func(p *Plan) { p.Ops = slices.Insert(p.Ops, p.index(PrivateMounts), Op{Kind: CgroupNamespace}) }, both},
		{"after the ids", func(p *Plan) {
			i := p.index(Cgroup)
			p.Ops[i], p.Ops[i+1] = p.Ops[i+1], p.Ops[i]
		}, "unsafe order: op 3: cgroup must come before map-ids"},
		{"job enters late", func(p *Plan) {
			i := p.index(JobCgroup)
			p.Ops[i], p.Ops[i+1] = p.Ops[i+1], p.Ops[i]
		}, "unsafe order: op 39: job-cgroup must come before hand"},
		{"driver", func(p *Plan) { p.Find(Cgroup).Data = "v1" }, `invalid plan: op 2 (cgroup): no driver "v1"`},
		{"slice", func(p *Plan) { p.Find(Cgroup).Source = "user.slice" }, `invalid plan: op 2 (cgroup): source "user.slice" is not brig.slice`},
		{"directory", func(p *Plan) { p.Find(Cgroup).Data = "cgroupfs" }, `invalid plan: op 2 (cgroup): source "brig.slice" is not an absolute, clean path`},
		{"namespace", func(p *Plan) { p.Find(JobCgroup).Data = "x" }, `invalid plan: op 38 (job-cgroup): data "x" is no namespace`},
	} {
		p := grouped()
		tt.spoil(p)
		if err := Check(p); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// Each case breaks one rule of a safe plan and nothing else.
func TestCheckRules(t *testing.T) {
	op := func(k Kind, change func(*Op)) func(*Plan) {
		return func(p *Plan) { change(p.Find(k)) }
	}
	insert := func(after Kind, o Op) func(*Plan) {
		return func(p *Plan) { p.Ops = slices.Insert(p.Ops, p.index(after)+1, o) }
	}
	ids := func(change func(*IDs)) func(*Plan) { return func(p *Plan) { change(&p.IDs) } }
	tests := []struct {
		name  string
		spoil func(*Plan)
		is    error
		want  string
	}{
		{"version", func(p *Plan) { p.Version = 2 }, ErrInvalid, "invalid plan: version 2, this is version 1"},
		{"too many ops", func(p *Plan) { p.Ops = append(p.Ops, make([]Op, 4096)...) }, ErrInvalid, "invalid plan: 4145 ops, the most is 4096"},
		{"no user namespace", without(User), ErrInvalid, "invalid plan: no user namespace"},
		{"no mount namespace", without(Mount), ErrInvalid, "invalid plan: no mnt namespace"},
		{"no pid namespace", without(PID), ErrInvalid, "invalid plan: no pid namespace"},
		{"no ipc namespace", without(IPC), ErrInvalid, "invalid plan: no ipc namespace"},
		{"no uts namespace", without(UTS), ErrInvalid, "invalid plan: no uts namespace"},
		{"unknown namespace", func(p *Plan) { p.Namespaces = append(p.Namespaces, "time") }, ErrInvalid, `invalid plan: namespace "time" is unknown or there twice`},
		{"namespace twice", func(p *Plan) { p.Namespaces = append(p.Namespaces, Net) }, ErrInvalid, `invalid plan: namespace "net" is unknown or there twice`},
		{"unknown map", ids(func(m *IDs) { m.Map = "auto\nset-up" }), ErrInvalid, `invalid plan: id map "auto\nset-up"`},
		{"unknown writer", ids(func(m *IDs) { m.By = "" }), ErrInvalid, `invalid plan: id map written by ""`},
		{"unknown stdio", func(p *Plan) { p.Stdio = "inherit" }, ErrInvalid, `invalid plan: stdio "inherit"`},
		{"terminal without devpts", drop(Devpts), ErrInvalid, "invalid plan: a terminal without a devpts"},
		{"nameless limit", func(p *Plan) { p.Limits[0].Mechanism = "" }, ErrInvalid, `invalid plan: limit "memory" = "2147483648" by ""`},
		{"too many notes", func(p *Plan) { p.Notes = make([]string, maxList+1) }, ErrInvalid, "invalid plan: too many limits or notes"},

		{"cloned as root", ids(func(m *IDs) { m.CloneUID = 0 }), ErrInvalid, "invalid plan: the sandbox's first process is never host root"},
		{"host root as user", ids(func(m *IDs) { m.UID[1].Outside = 0 }), ErrInvalid, "invalid plan: host root is never mapped"},
		{"host root as group", ids(func(m *IDs) { m.GID[1].Outside = 0 }), ErrInvalid, "invalid plan: host root is never mapped"},
		{"no user map", ids(func(m *IDs) { m.UID = nil }), ErrInvalid, "invalid plan: 0 id mappings, the kernel takes 1 to 340"},
		{"long group map", ids(func(m *IDs) { m.GID = make([]Mapping, 341) }), ErrInvalid, "invalid plan: 341 id mappings, the kernel takes 1 to 340"},
		{"empty mapping", ids(func(m *IDs) { m.UID[0].Count = 0 }), ErrInvalid, "invalid plan: mapping of 0 ids from 0 to 100000 overflows"},
		{"inside overflows", ids(func(m *IDs) { m.UID[2].Inside = 1<<32 - 64535 }), ErrInvalid, "invalid plan: mapping of 64535 ids from 4294902761 to 101000 overflows"},
		{"outside overflows", ids(func(m *IDs) { m.UID[2].Outside = 1<<32 - 64535 }), ErrInvalid, "invalid plan: mapping of 64535 ids from 1001 to 4294902761 overflows"},
		{"overlap inside", ids(func(m *IDs) { m.UID[1].Inside = 999 }), ErrInvalid, "invalid plan: mappings overlap at 999 and 0"},
		{"overlap outside", ids(func(m *IDs) { m.GID[1].Outside = 100999 }), ErrInvalid, "invalid plan: mappings overlap at 1000 and 0"},

		{"no kind", op(Loopback, func(o *Op) { o.Kind = 0 }), ErrInvalid, "invalid plan: op 28: kind(0)"},
		{"unknown kind", op(Loopback, func(o *Op) { o.Kind = kindEnd }), ErrInvalid, fmt.Sprintf("invalid plan: op 28: kind(%d)", kindEnd)},
		{"unknown flags", op(Open, func(o *Op) { o.Flags |= flagsEnd }), ErrInvalid, fmt.Sprintf("invalid plan: op 5 (open): unknown flags %#x", flagsEnd|7)},
		{"mode", op(Mkdir, func(o *Op) { o.Mode = 0o100755 }), ErrInvalid, "invalid plan: op 12 (mkdir): mode 0100755 is more than permission bits"},
		{"size", op(Scratch, func(o *Op) { o.Size = -2 }), ErrInvalid, "invalid plan: op 10 (scratch): size -2 or count 1000 below -1, which is unlimited"},
		{"inodes", op(Rlimit, func(o *Op) { o.Inodes = -2 }), ErrInvalid, "invalid plan: op 40 (rlimit): size 1 or count -2 below -1, which is unlimited"},
		{"NUL in a target", op(Mkdir, func(o *Op) { o.Target = "/a\x00b" }), ErrInvalid, "invalid plan: op 12 (mkdir): a string of 4 bytes is too long or holds a NUL"},
		{"NUL in argv", op(Exec, func(o *Op) { o.Names[1] = "\x00" }), ErrInvalid, "invalid plan: op 49 (exec): a string of 1 bytes is too long or holds a NUL"},
		{"long string", op(Exec, func(o *Op) { o.Names[1] = strings.Repeat("x", 1<<20+1) }), ErrInvalid, "invalid plan: op 49 (exec): a string of 1048577 bytes is too long or holds a NUL"},
		{"long list", op(JobIDs, func(o *Op) { o.Groups = make([]uint32, maxList+1) }), ErrInvalid, "invalid plan: op 42 (job-ids): a list is too long"},

		{"handle 0", op(Open, func(o *Op) { o.Handle = 0 }), ErrInvalid, "invalid plan: op 5 (open): handle 0 is taken or not positive"},
		{"handle taken", func(p *Plan) { p.Ops[5].Handle = 1 }, ErrInvalid, "invalid plan: op 6 (open): handle 1 is taken or not positive"},
		{"bind of nothing", op(Bind, func(o *Op) { o.Handle = 9 }), ErrInvalid, "invalid plan: op 18 (bind): handle 9 was never opened"},
		{"overlay of nothing", op(Overlay, func(o *Op) { o.Handle = 0 }), ErrInvalid, "invalid plan: op 20 (overlay): handle 0 was never opened"},
		{"handle used twice", op(Overlay, func(o *Op) { o.Handle = 1 }), ErrInvalid, "invalid plan: op 20 (overlay): handle 1 was used before"},
		{"root over nothing", op(Root, func(o *Op) { o.Flags, o.Handle = InSource, 9 }), ErrInvalid, "invalid plan: op 15 (root): handle 9 was never opened"},
		{"upper of nothing", op(Upper, func(o *Op) { o.Handle = 9 }), ErrInvalid, "invalid plan: op 11 (upper): handle 9 was never opened"},
		{"root takes its handle", op(Root, func(o *Op) { o.Flags, o.Handle = InSource, 3 }), ErrInvalid, "invalid plan: op 20 (overlay): handle 3 was used before"},
		{"open of a relative path", op(Open, func(o *Op) { o.Source = "usr" }), ErrInvalid, `invalid plan: op 5 (open): source "usr" is not an absolute, clean path`},
		{"copy of a relative path", op(Copy, func(o *Op) { o.Source = "" }), ErrInvalid, `invalid plan: op 17 (copy): source "" is not an absolute, clean path`},
		{"copy to an unclean path", op(Copy, func(o *Op) { o.Target = "/work/../etc/passwd" }), ErrInvalid, `invalid plan: op 17 (copy): target "/work/../etc/passwd" is not an absolute, clean path`},
		{"landlock", op(Landlock, func(o *Op) { o.Write[0] = "tmp" }), ErrInvalid, `invalid plan: op 46 (landlock): path "tmp" is not an absolute, clean path`},
		{"landlock scope", op(Landlock, func(o *Op) { o.Data = "scope signals" }), ErrInvalid, `invalid plan: op 46 (landlock): data "scope signals" is no scope`},
		{"absolute sysctl", op(Sysctl, func(o *Op) { o.Target = "/proc/sys/kernel/x" }), ErrInvalid, `invalid plan: op 26 (sysctl): target "/proc/sys/kernel/x" is not a clean path below /proc`},
		{"sysctl above proc", op(Sysctl, func(o *Op) { o.Target = "../etc/passwd" }), ErrInvalid, `invalid plan: op 26 (sysctl): target "../etc/passwd" is not a clean path below /proc`},
		{"sysctl of nothing", op(Sysctl, func(o *Op) { o.Target = "" }), ErrInvalid, `invalid plan: op 26 (sysctl): target "" is not a clean path below /proc`},
		{"unclean sysctl", op(Sysctl, func(o *Op) { o.Target = "sys//x" }), ErrInvalid, `invalid plan: op 26 (sysctl): target "sys//x" is not a clean path below /proc`},
		{"no argv", op(Exec, func(o *Op) { o.Names = nil }), ErrInvalid, "invalid plan: op 49 (exec): no command"},
		{"no candidate", op(Exec, func(o *Op) { o.Write = nil }), ErrInvalid, "invalid plan: op 49 (exec): no command"},

		{"sysctl before proc", func(p *Plan) { move(p, Proc, Sysctl) }, ErrOrder, "unsafe order: op 25: proc must come before sysctl"},
		{"oom score before proc", func(p *Plan) { drop(Sysctl)(p); move(p, Proc, OOMScore) }, ErrOrder, "unsafe order: op 28: proc must come before oom-score"},
		{"job before the fork", insert(Pivot, Op{Kind: Session}), ErrOrder, "unsafe order: op 32: session before the fork"},
		{"init after the job", insert(Exec, Op{Kind: Ready}), ErrOrder, "unsafe order: op 50: ready belongs before exec"},
		{"set-up after the fork", insert(InitDrop, Op{Kind: Pivot}), ErrOrder, "unsafe order: op 36: pivot belongs before init-drop"},
	}
	for _, k := range []Kind{Mkdir, Symlink, File, Mountpoint, Bind, Overlay, Tmpfs, Proc, Devpts, Mask, Protect, Chdir} {
		p := everything()
		tests = append(tests, struct {
			name  string
			spoil func(*Plan)
			is    error
			want  string
		}{
			"relative target of " + k.String(), op(k, func(o *Op) { o.Target = "a/" }), ErrInvalid,
			fmt.Sprintf(`invalid plan: op %d (%s): target "a/" is not an absolute, clean path`, p.index(k)+1, k),
		})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := everything()
			tt.spoil(p)
			err := Check(p)
			if !errors.Is(err, tt.is) || err.Error() != tt.want {
				t.Errorf("Check = %v\nwant    %s", err, tt.want)
			}
			if other := map[error]error{ErrOrder: ErrInvalid, ErrInvalid: ErrOrder}[tt.is]; errors.Is(err, other) {
				t.Errorf("%v is both", err)
			}
		})
	}
}

func without(ns Namespace) func(*Plan) {
	return func(p *Plan) {
		p.Namespaces = slices.DeleteFunc(p.Namespaces, func(n Namespace) bool { return n == ns })
	}
}

func drop(k Kind) func(*Plan) {
	return func(p *Plan) { p.Ops = slices.DeleteFunc(p.Ops, func(op Op) bool { return op.Kind == k }) }
}

// move takes the first op of kind k to right behind the first of kind after.
func move(p *Plan, k, after Kind) {
	o := *p.Find(k)
	i := p.index(k)
	p.Ops = slices.Delete(p.Ops, i, i+1)
	p.Ops = slices.Insert(p.Ops, p.index(after)+1, o)
}

func TestRequiredOps(t *testing.T) {
	for _, k := range required {
		p := everything()
		drop(k)(p)
		err := Check(p)
		// Without the fork, what follows is out of order, and nothing else
		// can be missing there.
		want := fmt.Sprintf("invalid plan: 0 ops %s, there must be one", k)
		is := ErrInvalid
		if k == Fork {
			want, is = "unsafe order: op 33: init-ids before the fork", ErrOrder
		}
		if !errors.Is(err, is) || err.Error() != want {
			t.Errorf("without %s: %v, want %s", k, err, want)
		}
		p = everything()
		i := p.index(k)
		p.Ops = slices.Insert(p.Ops, i, p.Ops[i])
		if err, want = Check(p), fmt.Sprintf("invalid plan: 2 ops %s, there must be one", k); err == nil || err.Error() != want {
			t.Errorf("two of %s: %v, want %s", k, err, want)
		}
	}
}

func TestSingleOps(t *testing.T) {
	for _, k := range single {
		whole := everything
		if k == Cgroup || k == JobCgroup || k == CgroupMount {
			whole = delegated
		}
		p := whole()
		i := p.index(k)
		p.Ops = slices.Insert(p.Ops, i, p.Ops[i])
		if k == Upper { // each handle is used once
			p.Ops[i].Handle = 5
			p.Ops = slices.Insert(p.Ops, p.index(Open), Op{Kind: Open, Handle: 5, Source: "/tmp"})
		}
		want := fmt.Sprintf("invalid plan: 2 ops %s, there may be one", k)
		if err := Check(p); !errors.Is(err, ErrInvalid) || err.Error() != want {
			t.Errorf("two of %s: %v, want %s", k, err, want)
		}
		if k == Proc || k == Devpts || k == Cgroup || k == JobCgroup || k == CgroupMount {
			continue // others need them here
		}
		p = everything()
		drop(k)(p)
		if err := Check(p); err != nil {
			t.Errorf("without %s: %v", k, err)
		}
	}
}

// The one safe order, written out a second time, so
// that a changed rank is seen.
func TestOrder(t *testing.T) {
	mounts := "mountpoint copy bind overlay tmpfs proc devpts mask protect sysctl hostname loopback affinity oom-score"
	stages := []string{
		"close-descriptors, cgroup, map-ids, cgroup-namespace, private-mounts, open, set-ids, scratch, upper mkdir symlink file, root, " +
			mounts + ", pivot, read-only-root, fork",
		"init-ids, init-drop, ready, release",
		"job-cgroup, cgroup-mount, hand, session, rlimit, job-ids, capabilities, chdir, no-new-privs, landlock, await-init, seccomp, exec",
	}
	at := map[string][2]int{}
	for s, text := range stages {
		for r, group := range strings.Split(text, ", ") {
			for name := range strings.FieldsSeq(group) {
				at[name] = [2]int{s + 1, r}
			}
		}
	}
	if len(at) != int(kindEnd)-1 {
		t.Errorf("%d kinds here, %d in the package", len(at), kindEnd-1)
	}
	for a := Kind(1); a < kindEnd; a++ {
		for b := Kind(1); b < kindEnd; b++ {
			pa, okA := at[a.String()]
			pb, okB := at[b.String()]
			if !okA || !okB {
				t.Fatalf("%s or %s is missing here", a, b)
			}
			want := ""
			switch {
			case pb[0] < pa[0]:
				want = fmt.Sprintf("%s belongs before %s", b, a)
			case pb[0] == pa[0] && pb[1] < pa[1]:
				want = fmt.Sprintf("%s must come before %s", b, a)
			case pb[0] > pa[0] && pa[0] == 1 && a != Fork:
				want = fmt.Sprintf("%s before the fork", b)
			}
			got := ""
			if err := follows(a, b); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s after %s: %q, want %q", b, a, got, want)
			}
		}
	}
}

// Every pair of neighbours that is exchanged makes an unsafe plan, unless both
// have the same rank.
func TestExchangedNeighbours(t *testing.T) {
	for i := range len(everything().Ops) - 1 {
		p := everything()
		a, b := p.Ops[i].Kind, p.Ops[i+1].Kind
		if a.Stage() == b.Stage() && rank[a] == rank[b] {
			continue
		}
		p.Ops[i], p.Ops[i+1] = p.Ops[i+1], p.Ops[i]
		if err := Check(p); !errors.Is(err, ErrOrder) {
			t.Errorf("%s before %s: %v", b, a, err)
		}
	}
}

func TestLimitsOfWhatIsAllowed(t *testing.T) {
	p := everything()
	p.Find(File).Data = "a\x00b" // a file may hold any bytes
	p.Find(Exec).Names[1] = strings.Repeat("x", 1<<20)
	p.IDs.UID = []Mapping{{0, 1, 1<<32 - 2}}
	if err := Check(p); err != nil {
		t.Error(err)
	}
	p.IDs.UID = nil
	for i := range uint32(340) {
		p.IDs.UID = append(p.IDs.UID, Mapping{i, 1000 + i, 1})
	}
	if err := Check(p); err != nil {
		t.Error(err)
	}
	p = everything()
	for len(p.Ops) < maxOps {
		p.Ops = slices.Insert(p.Ops, p.index(Loopback), Op{Kind: Mask, Target: "/proc/x"})
	}
	if err := Check(p); err != nil {
		t.Error(err)
	}
}
