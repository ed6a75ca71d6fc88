package launch

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// beginningOf is all that a plan may be begun with.
func beginningOf(p *plan.Plan) *Beginning {
	at := slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Scratch })
	root := slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Root })
	return &Beginning{IDs: p.IDs, Scratch: p.Ops[at], Below: below(p), Tree: p.Ops[at+1 : root], Capabilities: p.Find(plan.Capabilities).Names}
}

// begunWith makes a child that has been told the beginning.
func begunWith(t *testing.T, b *Beginning, p *plan.Plan) *Child {
	t.Helper()
	c := cloneInto(-1, p.Namespaces, p.IDs.CloneUID, p.IDs.CloneGID, true)
	<-c.made
	c.Begin(b)
	if want := p.IDs.By == plan.ByInit; (c.begun != nil) != want {
		t.Errorf("maps written by %s, and the child has begun: %v", p.IDs.By, c.begun != nil)
	}
	return c
}

// TestBegin: a sandbox is the same whether its child began before the plan was
// whole or not, with the root in a directory of the scratch and without.
func TestBegin(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	const look = seen + `; ls -ld / /tmp /dev /bin; stat -c '%U %a %n' /tmp /dev/null; grep Cap /proc/self/status
grep -v ^Seccomp_filters /proc/self/status | grep -i 'seccomp\|cpus_allowed:'; df --output=size,itotal /`
	for _, inScratch := range []bool{false, true} {
		p, with := filtered("sh", "-c", look)
		if inScratch {
			p.Find(plan.Root).Flags |= plan.InScratch
		}
		out, end, err := start(t, p, with)
		if err != nil || end.Status != 0 {
			t.Fatalf("status %#x, %v, output:\n%s", uint32(end.Status), err, out)
		}
		child := begunWith(t, beginningOf(p), p)
		pid := 0
		got, end, err := start(t, p, with, func(c *Config) { c.Child = child })
		if pid = child.pid; pid == 0 {
			t.Error("another child was made")
		}
		if err != nil || end.Status != 0 || got != out {
			t.Errorf("status %#x, %v, begun before it sees\n%s\nelse\n%s", uint32(end.Status), err, got, out)
		}
		if !strings.Contains(out, "CapBnd:\t0000000000000000") || !strings.Contains(out, "65536") {
			t.Errorf("the job sees\n%s", out)
		}
	}
}

// TestBeginOtherwise: a child that began otherwise than the plan does is none of
// its own.
func TestBeginOtherwise(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	for what, change := range map[string]func(*Beginning){
		"nothing":     func(*Beginning) {},
		"a part":      func(b *Beginning) { b.Tree = b.Tree[:3] },
		"no tree":     func(b *Beginning) { b.Tree = nil },
		"the ids":     func(b *Beginning) { b.IDs.UID = []plan.Mapping{{Inside: 7, Outside: b.IDs.UID[0].Outside, Count: 1}} },
		"the scratch": func(b *Beginning) { b.Scratch.Size++ },
		"its inodes":  func(b *Beginning) { b.Scratch.Inodes++ },
		"the root":    func(b *Beginning) { b.Below = !b.Below },
		"a name":      func(b *Beginning) { b.Tree[2].Target = "/other" },
		"a mode":      func(b *Beginning) { b.Tree[2].Mode = 0o700 },
		"an owner":    func(b *Beginning) { b.Tree[2].Flags = 0 },
		"a link":      func(b *Beginning) { b.Tree[5].Data = "other" },
		"one more":    func(b *Beginning) { b.Tree = append(b.Tree, plan.Op{Kind: plan.Mkdir, Target: "/more", Mode: 0o755}) },
		"the order":   func(b *Beginning) { b.Tree[0], b.Tree[1] = b.Tree[1], b.Tree[0] },
		"one in between": func(b *Beginning) {
			b.Tree = slices.Insert(b.Tree, 1, plan.Op{Kind: plan.Mkdir, Target: "/more", Mode: 0o755})
		},
		"one left out":    func(b *Beginning) { b.Tree = slices.Delete(b.Tree, 1, 2) },
		"the capabilties": func(b *Beginning) { b.Capabilities = []string{"CAP_CHOWN"} },
	} {
		p, with := filtered("sh", "-c", "ls -d /*; stat -c %a /tmp; cat /proc/self/uid_map; grep CapBnd /proc/self/status")
		want, end, err := start(t, p, with)
		if err != nil || end.Status != 0 {
			t.Fatalf("status %#x, %v, output:\n%s", uint32(end.Status), err, want)
		}
		b := beginningOf(p)
		b.Tree = slices.Clone(b.Tree)
		change(b)
		if fits := slices.Contains([]string{"nothing", "a part", "no tree"}, what); b.Fits(p) != fits {
			t.Errorf("%s differs: fits %v", what, b.Fits(p))
		}
		child := begunWith(t, b, p)
		out, end, err := start(t, p, with, func(c *Config) { c.Child = child })
		if err != nil || end.Status != 0 || out != want {
			t.Errorf("%s differs: status %#x, %v, output:\n%s", what, uint32(end.Status), err, out)
		}
	}
}

// TestBeginFails: what fails in the beginning is reported as the plan's op, and
// leaves nothing.
func TestBeginFails(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	for _, tt := range []struct {
		what   string
		change func(*plan.Plan)
		want   plan.Kind
		target string
		errno  unix.Errno
	}{
		{"no inodes left", func(p *plan.Plan) { p.Find(plan.Scratch).Inodes = 3 }, plan.Mkdir, "/tmp", unix.ENOSPC},
		{"a parent that is a link", func(p *plan.Plan) { p.Find(plan.File).Target = "/lib64/file" }, plan.File, "/lib64/file", unix.ENOENT},
		{"a map that may not be written", func(p *plan.Plan) { p.IDs.UID[0].Outside++ }, plan.MapIDs, "", unix.EPERM},
	} {
		p, with := filtered("true")
		tt.change(p)
		if p.IDs.By != plan.ByInit {
			continue // nothing is begun
		}
		var s *Sandbox
		child := begunWith(t, beginningOf(p), p)
		cfg := &Config{Plan: p, Child: child}
		with(cfg)
		s, err := Start(cfg)
		if err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		_, err = await(s)
		var step *StepError
		if !errors.As(err, &step) || step.Op.Kind != tt.want || step.Op.Target != tt.target || step.Errno != tt.errno ||
			p.Ops[step.Index].Kind != tt.want || p.Ops[step.Index].Target != tt.target {
			t.Errorf("%s: got %v, want %s %s: %v", tt.what, err, tt.want, tt.target, tt.errno)
		}
		if _, err := s.Close(); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// A child that is never given its plan ends with all that it has made.
func TestBeginDiscarded(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	p, _ := filtered("true")
	c := begunWith(t, beginningOf(p), p)
	c.Begin(beginningOf(p)) // once is enough
	if err := c.wait(); err != nil {
		t.Fatal(err)
	}
	s := Sandbox{Child: c, plan: p}
	if _, err := s.Close(); err != nil {
		t.Error(err)
	}
	(*Child)(nil).Begin(beginningOf(p))
}

// denying is a filter that refuses one call and allows all others.
func denying(number uint32) []byte {
	const ld, jeq, ret = 0x20, 0x15, 0x06
	var b []byte
	for _, i := range []struct {
		code   uint16
		jt, jf uint8
		k      uint32
	}{{ld, 0, 0, 0}, {jeq, 0, 1, number}, {ret, 0, 0, 0x00050000 | uint32(unix.EPERM)}, {ret, 0, 0, 0x7fff0000}} {
		b = append(b, byte(i.code), byte(i.code>>8), i.jt, i.jf, byte(i.k), byte(i.k>>8), byte(i.k>>16), byte(i.k>>24))
	}
	return b
}

// TestFilterFirst: filters are loaded before init is waited for where Config says
// so. One that refuses what is waited with shows in which order it was.
func TestFilterFirst(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	for _, first := range []bool{false, true} {
		p, _ := filtered("true")
		_, end, err := start(t, p, func(c *Config) { c.Filters, c.FilterFirst = [][]byte{denying(unix.SYS_CLOSE_RANGE)}, first })
		var step *StepError
		refused := errors.As(err, &step) && step.Op.Kind == plan.AwaitInit && step.Errno == unix.EPERM
		if refused != first || !first && (err != nil || end.Status != 0) {
			t.Errorf("filter first %v: %v", first, err)
		}
	}
}
