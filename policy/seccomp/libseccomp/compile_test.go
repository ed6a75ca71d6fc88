package libseccomp

import (
	"errors"
	"testing"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// variants are settings that use every way to change a base.
func variants() map[string]seccomp.Settings {
	low := func(i uint, op string, v, mask uint64) seccomp.Arg {
		return seccomp.Arg{Index: i, Op: op, Value: v, Mask: mask}
	}
	return map[string]seccomp.Settings{
		"default":      {Base: "default"},
		"strict":       {Base: "strict"},
		"default kill": {Base: "default", OnDeny: "kill"},
		"strict kill":  {Base: "strict", OnDeny: "kill"},
		"errno":        {Base: "default", OnDeny: "EACCES"},
		"enosys":       {Base: "default", OnDeny: "ENOSYS"},
		"lists": {
			Base: "strict", Allow: []string{"@sockets", "@mount", "userfaultfd", "ioctl"},
			Deny: []string{"@xattr", "connect", "mseal", "clone3"},
		},
		"rules": {
			Base: "default", Deny: []string{"@sysv-ipc"}, Rules: []seccomp.Rule{
				{Names: []string{"personality"}, Action: "allow", Args: []seccomp.Arg{low(0, "eq", 0x40000, 0)}},
				{Names: []string{"socket"}, Action: "allow", Args: []seccomp.Arg{low(0, "eq", 16, 0), low(2, "eq", 4, 0)}},
				{Names: []string{"socket"}, Action: "kill", Args: []seccomp.Arg{low(0, "eq", 2, 0), low(1, "masked_eq", 3, 0xf)}},
				{Names: []string{"ioctl"}, Action: "EACCES", Args: []seccomp.Arg{low(1, "masked_eq", 0x5600, 0xff00)}},
				{Names: []string{"mmap"}, Action: "deny", Args: []seccomp.Arg{low(1, "gt", 1<<40, 0)}},
				{Names: []string{"mmap"}, Action: "deny", Args: []seccomp.Arg{low(2, "masked_eq", 6, 6)}},
				{Names: []string{"lseek"}, Action: "EINVAL", Args: []seccomp.Arg{low(1, "lt", 1<<33, 0)}},
				{Names: []string{"lseek"}, Action: "EINVAL", Args: []seccomp.Arg{low(1, "ge", 1<<62, 0)}},
				{Names: []string{"pread64"}, Action: "EIO", Args: []seccomp.Arg{low(3, "ne", 1<<32+5, 0)}},
				{Names: []string{"pwrite64"}, Action: "EIO", Args: []seccomp.Arg{low(3, "le", 1<<32+5, 0)}},
				{Names: []string{"bpf"}, Action: "allow"},
				{Names: []string{"mseal"}, Action: "ENOTTY"},
				{Names: []string{"socket"}, Action: "EAFNOSUPPORT", Args: []seccomp.Arg{low(0, "eq", 40, 0)}},
				{Names: []string{"mount"}, Action: "EACCES", Args: []seccomp.Arg{low(3, "eq", 7, 0)}},
			},
		},
	}
}

// TestCompiledProgramsKeepToTheirProfiles compiles every variant for both
// architectures. Compile verifies: every number, every architecture, the
// surroundings of every compared value.
func TestCompiledProgramsKeepToTheirProfiles(t *testing.T) {
	for name, s := range variants() {
		for _, arch := range []string{"amd64", "arm64"} {
			for _, supervised := range []bool{false, true} {
				o := seccomp.Options{SupervisedMemory: supervised, Caps: []string{"CAP_SYS_ADMIN", "CAP_SYS_CHROOT"}}
				p, err := seccomp.Resolve(s, o, arch)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				c, err := Compile(p)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if want := 1; len(c.Filters) != want {
					t.Errorf("%s: %d filters, want %d", name, len(c.Filters), want)
				}
				again, err := Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				a, errA := c.MarshalBinary()
				b, errB := again.MarshalBinary()
				if errA != nil || errB != nil || string(a) != string(b) {
					t.Errorf("%s: two runs compiled two programs: %v %v", name, errA, errB)
				}
			}
		}
	}
}

// TestVerifyFindsEveryChange changes each instruction of a program and each
// answer of a profile in turn: Verify must tell.
func TestVerifyFindsEveryChange(t *testing.T) {
	p, err := seccomp.Resolve(variants()["rules"], seccomp.Options{}, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Calls {
		call := &p.Calls[i]
		if len(call.Allows) > 0 || len(call.Denials) > 0 {
			continue
		}
		was := call.Action
		call.Action = seccomp.Errno(99)
		if err := seccomp.Verify(p, c); !errors.Is(err, seccomp.ErrMismatch) {
			t.Errorf("%s: a changed answer was not found: %v", call.Name, err)
		}
		call.Action = was
	}
	survived := 0
	for f := range c.Filters {
		for i := range c.Filters[f] {
			in := &c.Filters[f][i]
			was := *in
			in.K ^= 1
			switch was.K {
			case 0x4000_0000, uint32(seccomp.Allow), uint32(seccomp.KillProcess):
				// Every filter tests for x32, and data beside these two means nothing.
			default:
				if seccomp.Verify(p, c) != nil {
					break
				}
				survived++
				t.Logf("filter %d: instruction %d may have k %#x instead of %#x", f, i, in.K, was.K)
			}
			*in = was
		}
	}
	// A test on the way to a decision may be made again further down the tree.
	if survived > 4 {
		t.Errorf("%d changed instructions were not found", survived)
	}
}

func TestCompileRefusesNone(t *testing.T) {
	p, err := seccomp.Resolve(seccomp.Settings{Base: "none"}, seccomp.Options{}, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Compile(p); err == nil || err.Error() != `base "none" has no program` {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCompile(b *testing.B) {
	p, err := seccomp.Resolve(seccomp.Settings{Base: "default"}, seccomp.Options{}, "amd64")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Compile(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	p, err := seccomp.Resolve(seccomp.Settings{Base: "default"}, seccomp.Options{}, "amd64")
	if err != nil {
		b.Fatal(err)
	}
	c, err := Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := seccomp.Verify(p, c); err != nil {
			b.Fatal(err)
		}
	}
}
