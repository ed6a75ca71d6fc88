package seccomp

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func resolved(t testing.TB, s Settings, o Options, arch string) *Profile {
	t.Helper()
	p, err := Resolve(s, o, arch)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// decide asks a profile about a call by name.
func decide(t *testing.T, p *Profile, name string, args ...uint64) Action {
	t.Helper()
	row := lookupCall(name)
	if row == nil || row.on(p.Arch) < 0 {
		t.Fatalf("%s is not on %s", name, p.Arch)
	}
	token, _ := auditArch(p.Arch)
	d := Data{Number: uint32(row.on(p.Arch)), Arch: token}
	copy(d.Args[:], args)
	return p.Decide(&d)
}

// TestGoldenProfiles holds the bases as text, for review and for diff.
func TestGoldenProfiles(t *testing.T) {
	for _, base := range []string{BaseDefault, BaseStrict} {
		for _, arch := range []string{AMD64, ARM64} {
			text := resolved(t, Settings{Base: base}, Options{}, arch).Text()
			// The key stands for the sources, which change more often than the profile.
			lines := strings.SplitAfter(text, "\n")
			lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "key ") })
			golden(t, filepath.Join("testdata", base+"-"+arch+".txt"), []byte(strings.Join(lines, "")))
		}
	}
}

// TestTablesNameCalls finds misspelt names in this package's own lists.
func TestTablesNameCalls(t *testing.T) {
	check := func(list string, names ...string) {
		for _, n := range names {
			if lookupCall(n) == nil {
				t.Errorf("%s: %q is not a system call", list, n)
			}
		}
	}
	for i, g := range groups {
		check(g.Name, g.Calls...)
		if g.Name[0] != '@' || g.About == "" || !slices.IsSorted(g.Calls) || (i > 0 && groups[i-1].Name >= g.Name) {
			t.Errorf("group %s: name, text or order", g.Name)
		}
	}
	check("hardened", hardenedCalls[:]...)
	check("strict", strictCalls[:]...)
	check("absent", absentCalls[:]...)
	check("unseen", unseenMemory[:]...)
	check("start", startCalls[:]...)
	for _, d := range hardenedDenials() {
		check("denials", d.name)
		if m, err := normalise(d.name, d.match, false); err != nil || !slices.Equal(m, d.match) {
			t.Errorf("denial of %s is not in its normal form: %v %v", d.name, m, err)
		}
	}
	for _, n := range narrowArgs {
		check("narrow", n.call)
	}
	for _, e := range dockerEntries {
		if _, err := normalise(e.Name, e.Args, true); err != nil && e.Name != "socket" {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}

// TestStrictIsPartOfDefault: whatever strict lets pass, the default does.
func TestStrictIsPartOfDefault(t *testing.T) {
	for _, arch := range []string{AMD64, ARM64} {
		strict := resolved(t, Settings{Base: BaseStrict}, Options{}, arch)
		usual := resolved(t, Settings{Base: BaseDefault}, Options{}, arch)
		for i, c := range strict.Calls {
			u := usual.Calls[i]
			if c.Action == Allow && u.Action != Allow {
				t.Errorf("%s: %s is allowed by strict alone", arch, c.Name)
			}
			for _, m := range c.Allows {
				if u.Action != Allow && !slices.ContainsFunc(u.Allows, func(o Match) bool { return slices.Equal(o, m) }) {
					t.Errorf("%s: %s if %v is allowed by strict alone", arch, c.Name, m)
				}
			}
		}
	}
}

// TestCapabilitiesOpenLittle: only openingCaps change the default, and none of
// them opens what is hardened.
func TestCapabilitiesOpenLittle(t *testing.T) {
	plain := Settings{Base: BaseDefault}
	none := resolved(t, plain, Options{}, AMD64)
	seen := map[string]bool{}
	for _, e := range dockerEntries {
		if e.With == "" || seen[e.With] {
			continue
		}
		seen[e.With] = true
		p := resolved(t, plain, Options{Caps: []string{e.With}}, AMD64)
		changed := false
		for i := range p.Calls {
			changed = changed || p.Calls[i].Action != none.Calls[i].Action
		}
		if opening := slices.Contains(openingCaps[:], e.With); changed != opening || (p.Key != none.Key) != opening {
			t.Errorf("%s: changes %v, changes key %v, listed %v", e.With, changed, p.Key != none.Key, opening)
		}
		for _, name := range []string{"mount", "unshare", "setns", "bpf", "keyctl", "open_by_handle_at", "init_module", "reboot"} {
			if got := decide(t, p, name); got != ePerm {
				t.Errorf("%s with %s: %v", name, e.With, got)
			}
		}
		if got := decide(t, p, "clone", 0x1000_0000); got != ePerm {
			t.Errorf("clone of a user namespace with %s: %v", e.With, got)
		}
		if got := decide(t, p, "clone3"); got != errNoSys {
			t.Errorf("clone3 with %s: %v", e.With, got)
		}
	}
}

func TestEntriesGoBeforeTheBase(t *testing.T) {
	s := Settings{
		Base: BaseDefault, OnDeny: "EACCES",
		Allow: []string{"@mount", "ptrace", "ioctl", "memfd_create", "@sockets", "chown32"},
		Deny:  []string{"umount2", "@xattr", "clone3"},
		Rules: []Rule{
			{Names: []string{"setpriority"}, Action: "allow", Args: []Arg{{Index: 0, Op: "eq", Value: 2}}},
			{Names: []string{"personality"}, Action: "allow", Args: []Arg{{Index: 0, Op: "eq", Value: 0x40000}}},
			{Names: []string{"kill"}, Action: "kill", Args: []Arg{{Index: 1, Op: "eq", Value: 9}}},
			{Names: []string{"fsopen"}, Action: "ENOSYS"},
			{Names: []string{"fcntl"}, Action: "deny", Args: []Arg{{Index: 1, Op: "masked_eq", Value: 8, Mask: 1<<64 - 1}}},
		},
	}
	p := resolved(t, s, Options{SupervisedMemory: true}, AMD64)
	eaccess := Errno(13)
	tests := []struct {
		name string
		args []uint64
		want Action
	}{
		{"mount", nil, Allow},
		{"umount2", nil, eaccess},    // deny before allow
		{"fsopen", nil, errNoSys},    // rule before allow
		{"getxattr", nil, eaccess},   // group
		{"clone3", nil, errNoSys},    // always
		{"memfd_create", nil, Allow}, // named, so not unseen
		{"memfd_secret", nil, errNoSys},
		{"ioctl", []uint64{0, 0x5412}, Allow}, // named itself
		{"ptrace", []uint64{0, 1}, Allow},     // named itself
		{"socket", []uint64{40}, eaccess},     // a group keeps the arguments
		{"socket", []uint64{2, 1}, Allow},
		{"setpriority", []uint64{2}, Allow}, // takes a denial back
		{"setpriority", []uint64{0, 1}, ePerm},
		{"personality", []uint64{0x40000}, Allow},
		{"personality", []uint64{0xff00_0000_0004_0000}, Allow},
		{"personality", []uint64{0x40001}, eaccess},
		{"kill", []uint64{5, 9}, KillProcess},
		{"kill", []uint64{5, 0xffff_0000_0000_0009}, KillProcess},
		{"kill", []uint64{5, 15}, Allow},
		{"fcntl", []uint64{0, 0xffff_ffff_0000_0008}, eaccess}, // the mask is narrowed too
		{"fcntl", []uint64{0, 9}, Allow},
	}
	for _, test := range tests {
		if got := decide(t, p, test.name, test.args...); got != test.want {
			t.Errorf("%s %#x: %v, want %v", test.name, test.args, got, test.want)
		}
	}
}

// TestRulesWithAnErrnoOfTheirOwn: a rule that denies with another errno than
// on_deny has it, also where nothing would have allowed the call.
func TestRulesWithAnErrnoOfTheirOwn(t *testing.T) {
	eq := func(i uint, v uint64) []Arg { return []Arg{{Index: i, Op: "eq", Value: v}} }
	eaccess, eafnosupport, enotty := Errno(13), Errno(97), Errno(25)
	s := Settings{Base: BaseDefault, Rules: []Rule{
		{Names: []string{"socket"}, Action: "EAFNOSUPPORT", Args: eq(0, 40)}, // not among what is allowed
		{Names: []string{"socket"}, Action: "EAFNOSUPPORT", Args: eq(0, 2)},  // allowed otherwise
		{Names: []string{"ioctl"}, Action: "ENOTTY", Args: eq(1, 0x5412)},    // denied by the base for the same argument
		{Names: []string{"mount"}, Action: "EACCES", Args: eq(3, 7)},         // denied altogether
		{Names: []string{"fsopen"}, Action: "EACCES"},                        // the same, for all arguments
		{Names: []string{"kill"}, Action: "EACCES", Args: eq(1, 9)},          // kept by what follows
		{Names: []string{"kill"}, Action: "ENOTTY"},
		{Names: []string{"umount2"}, Action: "kill", Args: eq(1, 1)}, // stricter
	}}
	for _, arch := range []string{AMD64, ARM64} {
		p := resolved(t, s, Options{}, arch)
		for _, test := range []struct {
			name string
			args []uint64
			want Action
		}{
			{"socket", []uint64{40, 1}, eafnosupport},
			{"socket", []uint64{2, 1}, eafnosupport},
			{"socket", []uint64{10, 1}, Allow},
			{"socket", []uint64{17, 3}, ePerm},
			{"ioctl", []uint64{0, 0x5412}, enotty},
			{"ioctl", []uint64{0, 0x5423}, ePerm},
			{"mount", []uint64{0, 0, 0, 7}, eaccess},
			{"mount", []uint64{0, 0, 0, 8}, ePerm},
			{"fsopen", nil, eaccess},
			{"kill", []uint64{1, 9}, eaccess},
			{"kill", []uint64{1, 15}, enotty},
			{"umount2", []uint64{0, 1}, KillProcess},
			{"umount2", []uint64{0, 2}, ePerm},
		} {
			if got := decide(t, p, test.name, test.args...); got != test.want {
				t.Errorf("%s: %s %#x: %v, want %v", arch, test.name, test.args, got, test.want)
			}
		}
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	rule := func(action, name string, args ...Arg) Settings {
		return Settings{Base: BaseDefault, Rules: []Rule{{Names: []string{name}, Action: action, Args: args}}}
	}
	eq := func(i uint, v uint64) Arg { return Arg{Index: i, Op: "eq", Value: v} }
	tests := []struct {
		s    Settings
		want string
	}{
		{Settings{}, `seccomp.base: "" is not a base: use "default", "strict" or "none"`},
		{Settings{Base: "strickt"}, `seccomp.base: "strickt" is not a base: use "default", "strict" or "none"`},
		{Settings{Base: BaseDefault, OnDeny: "eperm"}, `seccomp.on_deny: "eperm" is not an errno name: write "EPERM"`},
		{Settings{Base: BaseDefault, OnDeny: "trap"}, `seccomp.on_deny: "trap" is neither an errno name (such as "EPERM") nor "kill"`},
		{Settings{Base: BaseDefault, Deny: []string{"read", "sockett"}}, `seccomp.deny[1]: "sockett" is not a system call: did you mean "socket"?`},
		{Settings{Base: BaseDefault, Allow: []string{"@socket"}}, `seccomp.allow[0]: "@socket" is not a group: did you mean "@sockets"?`},
		{Settings{Base: BaseDefault, Allow: []string{"mount"}, Deny: []string{"mount"}}, `seccomp.allow[0]: "mount" cannot take effect: deny[0] names it too, and deny goes before allow`},
		{Settings{Base: BaseDefault, Deny: []string{"execve"}}, `seccomp.deny[0]: "execve" must be allowed for all arguments: the job is started with it`},
		{Settings{Base: BaseNone, Deny: []string{"socket"}}, `seccomp.base: with base "none" there is no filter, so allow, deny and rule cannot take effect: use base "default"`},
		{Settings{Base: BaseDefault, Rules: []Rule{{Action: "allow"}}}, `seccomp.rule[0].names: names no system call`},
		{rule("log", "read"), `seccomp.rule[0].action: "log" is neither an errno name (such as "EPERM") nor "kill"; "allow" and "deny" (as on_deny says) are actions too`},
		{rule("allow", "read", eq(0, 1)), `seccomp.rule[0]: "read" cannot take effect: base allows it already`},
		{rule("deny", "mount", eq(3, 1)), `seccomp.rule[0]: "mount" cannot take effect: it is denied already with EPERM (not in base)`},
		{rule("EPERM", "mount", eq(3, 1)), `seccomp.rule[0]: "mount" cannot take effect: it is denied already with EPERM (not in base)`},
		{rule("deny", "socket", eq(0, 40)), `seccomp.rule[0]: "socket" cannot take effect: it is denied already with EPERM (base)`},
		{
			Settings{Base: BaseDefault, OnDeny: "kill", Rules: []Rule{{Names: []string{"socket"}, Action: "EAFNOSUPPORT", Args: []Arg{eq(0, 40)}}}},
			`seccomp.rule[0]: "socket" cannot take effect: it is denied already with kill (base)`,
		},
		{
			Settings{Base: BaseDefault, OnDeny: "kill", Rules: []Rule{{Names: []string{"mount"}, Action: "EACCES", Args: []Arg{eq(3, 1)}}}},
			`seccomp.rule[0]: "mount" cannot take effect: it is denied already with kill (not in base)`,
		},
		{
			Settings{Base: BaseDefault, Rules: []Rule{
				{Names: []string{"kill"}, Action: "EACCES", Args: []Arg{eq(1, 9)}}, {Names: []string{"kill"}, Action: "EINVAL", Args: []Arg{eq(1, 9)}},
			}},
			`seccomp.rule[1]: "kill" cannot take effect: another rule denies it with EACCES for the same arguments (low32(arg1) == 0x9)`,
		},
		{
			Settings{Base: BaseDefault, Rules: []Rule{{Names: []string{"kill"}, Action: "EACCES"}, {Names: []string{"kill"}, Action: "EINVAL"}}},
			`seccomp.rule[1]: "kill" cannot take effect: another rule denies it with EACCES`,
		},
		{
			Settings{Base: BaseDefault, Rules: []Rule{
				{Names: []string{"kill"}, Action: "EACCES", Args: []Arg{eq(1, 9)}}, {Names: []string{"kill"}, Action: "kill"},
			}},
			`seccomp.rule[1]: "kill": with it the denial with EACCES for low32(arg1) == 0x9 cannot take effect`,
		},
		{rule("deny", "clone3", eq(0, 1)), `seccomp.rule[0].args: "clone3": what it does lies behind a pointer, which a filter cannot read: allow or deny it altogether`},
		{rule("deny", "read", eq(6, 1)), `seccomp.rule[0].args: read: index 6: a call has the arguments 0 to 5`},
		{rule("deny", "read", eq(1, 1), eq(1, 2)), `seccomp.rule[0].args: read: argument 1 is compared twice: write two rules, or one masked_eq`},
		{rule("deny", "read", Arg{Op: "is"}), `seccomp.rule[0].args: read: op "is": use eq, ne, lt, le, gt, ge or masked_eq`},
		{rule("deny", "read", Arg{Index: 1, Op: "lt"}), `seccomp.rule[0].args: read: arg1 < 0x0 is never true`},
		{rule("deny", "read", Arg{Index: 1, Op: "ge"}), `seccomp.rule[0].args: read: arg1 >= 0x0 is always true`},
		{rule("deny", "read", Arg{Index: 1, Op: "eq", Mask: 3}), `seccomp.rule[0].args: read: op "eq" takes no mask: write masked_eq`},
		{rule("deny", "read", Arg{Index: 1, Op: "masked_eq", Value: 4, Mask: 3}), `seccomp.rule[0].args: read: arg1 & 0x3 == 0x4 is never true`},
		{rule("deny", "kill", Arg{Index: 1, Op: "lt", Value: 9}), `seccomp.rule[0].args: kill: op "lt": the kernel takes only the low 32 bits of argument 1, so set high bits would get round it: use eq or masked_eq`},
		{rule("deny", "kill", eq(1, 1<<32)), `seccomp.rule[0].args: kill: value 0x100000000: the kernel takes only the low 32 bits of argument 1`},
		{
			Settings{Base: BaseDefault, Deny: []string{"kill"}, Rules: []Rule{{Names: []string{"kill"}, Action: "deny", Args: []Arg{eq(1, 9)}}}},
			`seccomp.rule[0]: "kill" cannot take effect: deny[0] denies it, and deny goes before rules`,
		},
	}
	for _, test := range tests {
		errs := Check(test.s)
		if len(errs) != 1 || errs[0].Error() != test.want {
			t.Errorf("%+v:\n got %v\nwant %s", test.s, errs, test.want)
			continue
		}
		var e *Error
		if _, err := Resolve(test.s, Options{}, AMD64); !errors.As(err, &e) || e.Error() != test.want {
			t.Errorf("Resolve: %v", err)
		}
	}
	if errs := Check(Settings{Base: BaseDefault, Deny: []string{"nope_nope", "xyzzy"}, OnDeny: "no"}); len(errs) != 3 {
		t.Errorf("three faults, listed %v", errs)
	}
	if errs := Check(Settings{Base: BaseStrict, Allow: []string{"open", "chown32", "s390_pci_mmio_read"}}); errs != nil {
		t.Errorf("calls of other architectures are fine: %v", errs)
	}
	if _, err := Resolve(Settings{Base: BaseDefault}, Options{}, "riscv64"); err == nil || err.Error() != `architecture "riscv64": brig has filters for amd64 and arm64` {
		t.Errorf("another architecture: %v", err)
	}
}

func TestKeyIsCanonical(t *testing.T) {
	a := Settings{Base: BaseDefault, Allow: []string{"mount", "bpf"}, Deny: []string{"socket"}, OnDeny: "EPERM"}
	b := Settings{Base: BaseDefault, Allow: []string{"bpf", "mount", "bpf"}, Deny: []string{"socket"}}
	if Key(a, Options{}, AMD64) != Key(b, Options{Caps: []string{"CAP_CHOWN"}}, AMD64) {
		t.Error("order, repetition, the spelt-out errno or a capability of no effect changed the key")
	}
	seen := map[string]int{}
	for i, k := range []string{
		Key(a, Options{}, AMD64),
		Key(a, Options{}, ARM64),
		Key(a, Options{SupervisedMemory: true}, AMD64),
		Key(a, Options{Caps: []string{"CAP_SYS_CHROOT"}}, AMD64),
		Key(Settings{Base: BaseDefault, Allow: []string{"mount"}, Deny: []string{"bpf", "socket"}}, Options{}, AMD64),
		Key(Settings{Base: BaseDefault, Allow: []string{"mountbpf"}, Deny: []string{"socket"}}, Options{}, AMD64),
		Key(Settings{Base: BaseStrict, Allow: a.Allow, Deny: a.Deny}, Options{}, AMD64),
		Key(Settings{Base: BaseDefault, Allow: a.Allow, Deny: a.Deny, OnDeny: "kill"}, Options{}, AMD64),
		Key(Settings{Base: BaseDefault, Allow: a.Allow, Deny: a.Deny, Rules: []Rule{{Names: []string{"kill"}, Action: "deny"}}}, Options{}, AMD64),
		Key(Settings{Base: BaseDefault, Allow: a.Allow, Deny: a.Deny, Rules: []Rule{{Names: []string{"kill"}, Action: "deny", Args: []Arg{{Op: "eq"}}}}}, Options{}, AMD64),
	} {
		if j, ok := seen[k]; ok {
			t.Errorf("%d and %d have the same key", i, j)
		}
		seen[k] = i
	}
}

func TestNoneHasNoFilter(t *testing.T) {
	p := resolved(t, Settings{Base: BaseNone}, Options{}, AMD64)
	if !p.None() || decide(t, p, "mount") != Allow || !strings.HasSuffix(p.Text(), "no filter: every call is allowed\n") {
		t.Errorf("%+v", p)
	}
}

func BenchmarkKey(b *testing.B) {
	for b.Loop() {
		Key(Settings{Base: BaseDefault}, Options{}, AMD64)
	}
}

func BenchmarkResolve(b *testing.B) {
	for b.Loop() {
		if _, err := Resolve(Settings{Base: BaseDefault}, Options{}, AMD64); err != nil {
			b.Fatal(err)
		}
	}
}
