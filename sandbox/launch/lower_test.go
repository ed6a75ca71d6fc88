package launch

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// allowAll is a filter that forbids nothing: return SECCOMP_RET_ALLOW.
var allowAll = []byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f}

// full returns a plan with an op of every kind, and what it needs.
func full(t *testing.T) *Config {
	t.Helper()
	p := small("true")
	p.Stdio = plan.Terminal
	insert := func(before plan.Kind, ops ...plan.Op) {
		i := slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == before })
		p.Ops = slices.Insert(p.Ops, i, ops...)
	}
	insert(plan.Scratch,
		plan.Op{Kind: plan.Open, Handle: 3, Source: "/tmp", Flags: plan.InPlace | plan.Optional},
		plan.Op{Kind: plan.Open, Handle: 4, Source: "/srv", Flags: plan.InPlace},
		plan.Op{Kind: plan.Open, Handle: 5, Source: "/var/tmp", Flags: plan.NoDev},
		plan.Op{Kind: plan.SetIDs, UID: 0, GID: 0, Flags: plan.KeepSetgrps})
	insert(plan.Mkdir, plan.Op{Kind: plan.Upper, Handle: 5})
	insert(plan.Pivot,
		plan.Op{Kind: plan.Mountpoint, Target: "/a/b"}, plan.Op{Kind: plan.Copy, Source: "/etc/hosts", Target: "/a/hosts"},
		plan.Op{Kind: plan.Overlay, Handle: 3, Target: "/a"}, plan.Op{Kind: plan.Bind, Handle: 4, Target: "/b"},
		plan.Op{Kind: plan.Tmpfs, Target: "/c", Size: -1, Inodes: -1},
		plan.Op{Kind: plan.Protect, Target: "/proc/sys"}, plan.Op{Kind: plan.Affinity, Data: "0"})
	insert(plan.Fork, plan.Op{Kind: plan.ReadOnlyRoot})
	insert(plan.Exec, plan.Op{Kind: plan.Seccomp, Data: "key"})
	ready := p.Find(plan.Ready)
	ready.Names = append(ready.Names, ReadyMaster, ReadyTmpfs+"/c")
	p.Find(plan.Capabilities).Names = []string{"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"}
	if err := plan.Check(p); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(t.TempDir(), "src")
	if err := os.WriteFile(src, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	pack, err := ReadPack(&plan.Op{Kind: plan.Copy, Source: src}, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pack.Close)
	return &Config{Plan: p, Env: []string{"A=b"}, Filters: [][]byte{allowAll}, Packs: []*Pack{pack}}
}

// grouped is full with a control group of its own.
func grouped(t *testing.T) *Config {
	t.Helper()
	cfg := full(t)
	cfg.Keep = 100
	ops := slices.DeleteFunc(cfg.Plan.Ops, func(op plan.Op) bool { return op.Kind == plan.CgroupNamespace })
	ops = slices.Insert(ops, 1, plan.Op{Kind: plan.Cgroup, Data: "systemd", Source: plan.Slice, Names: []string{"memory.max=1048576"}})
	at := slices.IndexFunc(ops, func(op plan.Op) bool { return op.Kind == plan.Session })
	cfg.Plan.Ops = slices.Insert(ops, at, plan.Op{Kind: plan.JobCgroup, Data: plan.CgroupRoot})
	if err := plan.Check(cfg.Plan); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// delegated is grouped with a part of it that the job may divide.
func delegated(t *testing.T) *Config {
	t.Helper()
	cfg := grouped(t)
	cfg.Plan.Find(plan.Cgroup).Flags = plan.Delegated
	cfg.Plan.Find(plan.Capabilities).Names = nil
	at := slices.IndexFunc(cfg.Plan.Ops, func(op plan.Op) bool { return op.Kind == plan.Session })
	cfg.Plan.Ops = slices.Insert(cfg.Plan.Ops, at, plan.Op{Kind: plan.CgroupMount, Target: "/sys/fs/cgroup", Flags: plan.NoSuid | plan.NoDev | plan.NoExec})
	if err := plan.Check(cfg.Plan); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestEveryKindIsLowered(t *testing.T) {
	cfg, inGroup, divides := full(t), grouped(t), delegated(t)
	for k := plan.Kind(1); ; k++ {
		if strings.HasPrefix(k.String(), "kind(") {
			break
		}
		if cfg.Plan.Find(k) == nil && inGroup.Plan.Find(k) == nil && divides.Plan.Find(k) == nil {
			t.Errorf("the tests' plans lack %s", k)
		}
	}
	for _, into := range []bool{false, true} {
		for _, cfg := range []*Config{cfg, inGroup, divides} {
			if block, _, err := lower(cfg, into, nil); err != nil {
				t.Error(err)
			} else {
				verify(t, cfg, slices.Concat(block.data, block.ops))
			}
		}
	}
	for _, root := range []plan.Op{
		{Flags: plan.InScratch},
		{Flags: plan.InSource, Handle: 3},
		{Flags: plan.InSource, Handle: 3, Layers: []int{4}},
		{Flags: plan.InSource | plan.ReadOnly, Handle: 3, Layers: []int{4}},
	} {
		cfg := full(t)
		root.Kind = plan.Root
		*cfg.Plan.Find(plan.Root) = root
		if root.Flags.Has(plan.InSource) {
			cfg.Plan.Ops = slices.DeleteFunc(cfg.Plan.Ops, func(op plan.Op) bool { return op.Kind == plan.Overlay })
		}
		if block, _, err := lower(cfg, false, nil); err != nil {
			t.Errorf("%s: %v", &root, err)
		} else {
			verify(t, cfg, slices.Concat(block.data, block.ops))
		}
	}
}

// verify checks a program as init would trust it: every op is known, every
// address lies in the block, every cell is written before it is loaded, the
// fork leads to init's ops, and each op says from which of the plan it comes.
func verify(t *testing.T, cfg *Config, block []byte) {
	t.Helper()
	e := binary.NativeEndian
	end := baseAddress + uint64(len(block))
	ops := e.Uint64(block[8:])
	if (end-ops)%opSize != 0 {
		t.Fatalf("ops at %#x, end at %#x", ops, end)
	}
	written := map[uint64]bool{}
	forks, serves := 0, 0
	for at := ops; at < end; at += opSize {
		o := block[at-baseAddress:][:opSize]
		kind, load, index := e.Uint16(o), e.Uint16(o[2:]), e.Uint32(o[4:])
		if kind < kindCall || kind > kindSkip || int(index) >= len(cfg.Plan.Ops) {
			t.Fatalf("op at %#x: kind %d of op %d", at, kind, index)
		}
		from := cfg.Plan.Ops[index].Kind
		for i := range 6 {
			v := e.Uint64(o[16+8*i:])
			if load>>i&1 == 0 {
				if v >= baseAddress && v < 1<<40 && v >= end {
					t.Errorf("%s: argument %d is %#x, beyond the block", from, i, v)
				}
				continue
			}
			if kept := v >= aheadAddress+8 && v < uint64(aheadCount.cell()); kept {
				if kind != kindSkip && !written[v] {
					t.Errorf("%s: what is kept at %#x is used without being made", from, v)
				}
			} else if v < baseAddress+headerSize || v >= ops {
				t.Errorf("%s: cell %#x of argument %d is not in the block", from, v, i)
			} else if !written[v] && e.Uint32(block[v-baseAddress:]) == ^uint32(0) {
				t.Errorf("%s: cell %#x of argument %d was never written (call %d)", from, v, i, e.Uint64(o[8:]))
			}
		}
		if out := e.Uint64(o[64:]); out != 0 {
			written[out] = true
		}
		switch kind {
		case kindFork:
			forks++
			target := e.Uint64(o[16:])
			if target <= (at-ops)/opSize+1 || target >= (end-ops)/opSize {
				t.Errorf("fork to op %d", target)
			} else if next := e.Uint32(block[ops+target*opSize-baseAddress+4:]); cfg.Plan.Ops[next].Kind != plan.Mask {
				t.Errorf("init goes on with %s", cfg.Plan.Ops[next].Kind)
			}
		case kindServe:
			serves++
		case kindSkip:
			// What is left out makes what is in the cell, and nothing else that
			// comes later is left out with it.
			span, makes := e.Uint64(o[24:]), false
			for i := range span {
				made := block[at+(1+i)*opSize-baseAddress:]
				makes = makes || e.Uint64(made[64:]) == e.Uint64(o[16:])
				if e.Uint16(made) != kindCall || e.Uint32(made[4:]) != index {
					t.Errorf("%s: leaves out an op of kind %d of op %d", from, e.Uint16(made), e.Uint32(made[4:]))
				}
			}
			if !makes {
				t.Errorf("%s: leaves out %d ops that do not make it", from, span)
			}
		}
	}
	if forks != 1 || serves != 1 || e.Uint16(block[len(block)-opSize:]) != kindServe {
		t.Errorf("%d forks, %d serves, the last op is of kind %d", forks, serves, e.Uint16(block[len(block)-opSize:]))
	}
}

func TestLowerErrors(t *testing.T) {
	op := func(k plan.Kind, change func(*plan.Op)) func(*Config) {
		return func(c *Config) { change(c.Plan.Find(k)) }
	}
	tests := []struct {
		name  string
		spoil func(*Config)
		want  string
	}{
		{"no filter", func(c *Config) { c.Filters = nil }, "launch: no filter for key"},
		{"half an instruction", func(c *Config) { c.Filters[0] = allowAll[:7] }, "launch: a filter of 7 bytes"},
		{"empty filter", func(c *Config) { c.Filters[0] = nil }, "launch: a filter of 0 bytes"},
		{"long filter", func(c *Config) { c.Filters[0] = make([]byte, 8*4097) }, "launch: a filter of 32776 bytes"},
		{"rlimit", op(plan.Rlimit, func(o *plan.Op) { o.Data = "memory" }), `launch: no rlimit "memory"`},
		{"capability", op(plan.Capabilities, func(o *plan.Op) { o.Names = []string{"CHOWN"} }), `launch: no capability "CHOWN"`},
		{"CPU list", op(plan.Affinity, func(o *plan.Op) { o.Data = "3-1" }), `launch: CPU list "3-1"`},
		{"copy without its content", func(c *Config) { c.Packs = nil }, "launch: a copy without its content"},
		{"unknown descriptor", op(plan.Ready, func(o *plan.Op) { o.Names = []string{"stdin"} }), `launch: no descriptor "stdin" to send`},
		{"unknown tmpfs", op(plan.Ready, func(o *plan.Op) { o.Names = []string{"tmpfs:/d"} }), `launch: no descriptor "tmpfs:/d" to send`},
		{"no terminal", func(c *Config) { c.Plan.Stdio = plan.Pipes }, `launch: no descriptor "terminal" to send`},
		{
			"too many descriptors", op(plan.Ready, func(o *plan.Op) { o.Names = make([]string, 254) }),
			"launch: 254 descriptors to send, the kernel takes 253 in one message: mount fewer tmpfs",
		},
		{"argv beyond the block", op(plan.Exec, func(o *plan.Op) {
			o.Names = slices.Repeat([]string{strings.Repeat("x", 1<<20)}, 65)
		}), "shorten the arguments or the environment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := full(t)
			tt.spoil(cfg)
			if _, _, err := lower(cfg, false, nil); err == nil || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	l := &lowering{program: newProgram(), cfg: &Config{}, plan: &plan.Plan{}}
	if err := l.lowerOp(&plan.Op{}); err == nil || err.Error() != "launch: op kind(0) cannot be lowered" {
		t.Errorf("kind 0: %v", err)
	}
}

// The second wall behind the working directory: the kernel calls a directory
// outside the root "(unreachable)", so its name must start with a slash.
func TestWorkingDirectoryIsCompared(t *testing.T) {
	l := &lowering{program: newProgram(), cfg: &Config{}, plan: &plan.Plan{}}
	if err := l.lowerOp(&plan.Op{Kind: plan.Chdir, Target: "/work"}); err != nil {
		t.Fatal(err)
	}
	e := binary.NativeEndian
	last := l.ops[len(l.ops)-opSize:]
	cwd := l.ops[len(l.ops)-2*opSize:]
	if e.Uint64(cwd[8:]) != unix.SYS_GETCWD || e.Uint16(last) != kindCompare || e.Uint64(last[16:]) != e.Uint64(cwd[16:]) ||
		e.Uint64(last[24:]) != 1 || e.Uint64(last[40:]) != '/' || e.Uint64(last[48:]) != uint64(unix.EXDEV) {
		t.Errorf("the last ops are %v", l.ops[len(l.ops)-2*opSize:])
	}
}

func TestCPUMask(t *testing.T) {
	for list, want := range map[string][]int{"0": {0}, "1-3": {1, 2, 3}, "0,9,8": {0, 8, 9}, "1023": {1023}} {
		mask, err := cpuMask(list)
		if err != nil {
			t.Errorf("%s: %v", list, err)
			continue
		}
		var got []int
		for i := range 8 * cpuMaskSize {
			if mask[i/8]>>(i%8)&1 != 0 {
				got = append(got, i)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v", list, got)
		}
	}
	for _, list := range []string{"", "a", "-1", "1-", "1024", "2-1", "0,,1", "0-1-2", " 1"} {
		if _, err := cpuMask(list); err == nil || !strings.HasPrefix(err.Error(), "launch: CPU list ") {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// The names stand in the kernel's order, which is that of their numbers.
func TestNumberedNames(t *testing.T) {
	for name, want := range map[string]uint64{
		"CAP_CHOWN": unix.CAP_CHOWN, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_SETFCAP": unix.CAP_SETFCAP,
		"CAP_BPF": unix.CAP_BPF, "CAP_CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE,
	} {
		if got, ok := capability(name); !ok || got != want {
			t.Errorf("%s is %d", name, got)
		}
	}
	if len(capabilityNames) != unix.CAP_LAST_CAP+1 {
		t.Errorf("%d capabilities, the kernel's headers have %d", len(capabilityNames), unix.CAP_LAST_CAP+1)
	}
	for name, want := range map[string]int{"cpu": unix.RLIMIT_CPU, "nproc": unix.RLIMIT_NPROC, "nofile": unix.RLIMIT_NOFILE, "as": unix.RLIMIT_AS, "rttime": unix.RLIMIT_RTTIME} {
		if got := slices.Index(rlimitNumbers, name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
}
