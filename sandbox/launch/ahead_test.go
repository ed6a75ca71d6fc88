package launch

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// TestAheadImage checks what init carries out before there is a plan: that no
// op of it but those that get init ready can end the sandbox, that it makes each
// thing once, and that it ends by waiting for the plan.
func TestAheadImage(t *testing.T) {
	e := binary.NativeEndian
	for _, all := range []bool{false, true} {
		image := aheadImage(all)
		if len(image) > aheadPart {
			t.Fatalf("%d bytes, there is room for %d", len(image), aheadPart)
		}
		ops := image[e.Uint64(image)-aheadAddress:]
		var kinds []uint16
		made := map[cell]int{}
		for o := ops; len(o) > 0; o = o[opSize:] {
			kinds = append(kinds, e.Uint16(o))
			if len(kinds) > 5 && e.Uint16(o) == kindCall && e.Uint16(o[72:]) != anyErrno {
				t.Errorf("call %d of op %d may end the sandbox", e.Uint64(o[8:]), len(kinds))
			}
			made[cell(e.Uint64(o[64:]))]++
		}
		if n := len(kinds); !slices.Equal(kinds[n-3:], []uint16{kindWait, kindJump, kindJump}) || slices.ContainsFunc(kinds[:n-3], func(k uint16) bool { return k != kindCall }) {
			t.Errorf("kinds of op %v", kinds)
		}
		for a := aheadPrivate; a < aheadCount; a++ {
			if want := map[bool]int{true: 1}[all]; made[a.cell()] != want {
				t.Errorf("thing %d is made %d times, want %d", a, made[a.cell()], want)
			}
			if v := e.Uint32(image[a.cell()-aheadAddress:]); v != ^uint32(0) {
				t.Errorf("thing %d is %#x from the start", a, v)
			}
		}
	}
}

// seen is what a job sees of everything that may have been made ahead.
const seen = `cat /proc/self/uid_map; sort /proc/self/mounts; cat /sys/class/net/lo/flags 2>/dev/null
ls -l /dev | sed 's/ [A-Z][a-z][a-z] .*:.. / /'; cat /proc/self/oom_score_adj /proc/net/dev | cut -d: -f1; ls /proc/sysvipc`

// TestWithoutAhead: a sandbox is the same whether things were done ahead or not,
// also where only some could be: here the numbers of descriptors that are kept
// lie beyond the limit.
func TestWithoutAhead(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	run := func(ahead bool) string {
		p, with := filtered("sh", "-c", seen)
		out, end, err := start(t, p, with, func(c *Config) {
			c.Child = cloneInto(-1, p.Namespaces, p.IDs.CloneUID, p.IDs.CloneGID, ahead)
		})
		if err != nil || end.Status != 0 {
			t.Fatalf("ahead %v: status %#x, %v, output:\n%s", ahead, uint32(end.Status), err, out)
		}
		return out
	}
	want := run(false)
	if !strings.Contains(want, "devpts") || !strings.Contains(want, "/usr") {
		t.Errorf("the job sees\n%s", want)
	}
	if got := run(true); got != want {
		t.Errorf("ahead the job sees\n%s\nwithout\n%s", got, want)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: aheadFD + 3, Max: was.Max}); err != nil { //nolint:forbidigo // this process is the test's own
		t.Fatal(err)
	}
	got := run(true)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil { //nolint:forbidigo // this process is the test's own
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("partly ahead the job sees\n%s\nwithout\n%s", got, want)
	}
}

// TestLoopbackTakenDown: a job whose plan has no loopback has none, although it
// was brought up ahead.
func TestLoopbackTakenDown(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	for _, up := range []bool{true, false} {
		p, with := filtered("sh", "-c", "cat /proc/net/route /proc/net/fib_trie /proc/net/if_inet6 2>/dev/null; :")
		p.Ops = slices.DeleteFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Loopback && !up })
		if up && p.Find(plan.Loopback) == nil {
			t.Fatal("the plan has no loopback")
		}
		out, end, err := start(t, p, with)
		if err != nil || end.Status != 0 {
			t.Fatalf("status %#x, %v, output:\n%s", uint32(end.Status), err, out)
		}
		if strings.Contains(out, "127.0.0.1") != up {
			t.Errorf("loopback wanted: %v, the job's routes:\n%s", up, out)
		}
	}
}

// TestMoreThanKept: more descriptors than there are numbers below those that
// are kept can be sent all the same.
func TestMoreThanKept(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	p, with := filtered("sh", "-c", "ls /proc/self/fd; cat /copy59")
	at := slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Pivot })
	var packs []*Pack
	for i := range 60 {
		op := plan.Op{Kind: plan.Copy, Source: "/etc/hostname", Target: "/copy" + itoa(i)}
		p.Ops = slices.Insert(p.Ops, at, op)
		pack, err := ReadPack(&op, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer pack.Close()
		packs = append(packs, pack)
	}
	host, err := os.ReadFile("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	out, end, err := start(t, p, with, func(c *Config) { c.Packs = packs })
	if err != nil || end.Status != 0 || out != "0\n1\n2\n3\n"+string(host) {
		t.Errorf("status %#x, %v, output:\n%s", uint32(end.Status), err, out)
	}
}
