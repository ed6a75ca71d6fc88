package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/policy"
)

// scalar is an override of a single key.
func scalar(key, value string) policy.Override {
	return policy.Override{Key: key, Value: value, Origin: "--flag"}
}

func TestOverrides(t *testing.T) {
	base := "version = 1\n[user]\ncapabilities = [\"CAP_KILL\", \"CAP_CHOWN\"]\n[environment]\ninherit = [\"A\"]\nset = { B = \"1\" }\n"
	type list = []policy.Override
	for _, tt := range []struct {
		name      string
		overrides list
		change    func(*policy.Policy)
	}{
		{"bytes", list{scalar("limits.memory", "268435456")}, func(p *policy.Policy) { p.Limits.Memory = 256 << 20 }},
		{"letter", list{scalar("limits.memory", "256M")}, func(p *policy.Policy) { p.Limits.Memory = 256 << 20 }},
		{"unit", list{scalar("limits.memory", "256MB")}, func(p *policy.Policy) { p.Limits.Memory = 256e6 }},
		{"unlimited", list{scalar("limits.memory", "unlimited")}, func(p *policy.Policy) { p.Limits.Memory = policy.Unlimited }},
		{"docker's unlimited", list{scalar("limits.pids", "-1")}, func(p *policy.Policy) { p.Limits.PIDs = policy.Unlimited }},
		{"cpus", list{scalar("limits.cpus", "1.5")}, func(p *policy.Policy) { p.Limits.CPUs = 1.5 }},
		{"last one wins", list{scalar("limits.pids", "5"), scalar("limits.pids", "6")}, func(p *policy.Policy) { p.Limits.PIDs = 6 }},
		{"time", list{scalar("limits.wall_time", "90s")}, func(p *policy.Policy) { p.Limits.WallTime = 90e9 }},
		{"relative root", list{scalar("filesystem.root", "dir:rootfs")}, func(p *policy.Policy) { p.Filesystem.Root = "dir:/home/alice/project/rootfs" }},
		{"read-only", list{scalar("filesystem.read_only", "true")}, func(p *policy.Policy) { p.Filesystem.ReadOnly = true }},
		{"names", list{scalar("seccomp.allow", "ptrace,@keyring")}, func(p *policy.Policy) { p.Seccomp.Allow = []string{"ptrace", "@keyring"} }},
		{"swap total before memory", list{policy.SetMemorySwap("3g", "--memory-swap"), scalar("limits.memory", "2g")}, func(p *policy.Policy) {
			p.Limits.Memory, p.Limits.Swap = 2<<30, 1<<30
		}},
		{"unlimited swap", list{policy.SetMemorySwap("-1", "--memory-swap")}, func(p *policy.Policy) { p.Limits.Swap = policy.Unlimited }},
		{"uid alone", list{policy.SetUser("5", "-u")}, func(p *policy.Policy) { p.User.UID, p.User.GID = 5, 5 }},
		{"uid and gid", list{policy.SetUser("5:6", "-u")}, func(p *policy.Policy) { p.User.UID, p.User.GID = 5, 6 }},
		{"set a variable", list{policy.SetVariable("A=x=y", "-e")}, func(p *policy.Policy) {
			p.Environment.Inherit, p.Environment.Set["A"] = nil, "x=y"
		}},
		{"inherit a variable", list{policy.SetVariable("B", "-e")}, func(p *policy.Policy) {
			p.Environment.Inherit = []string{"A", "B"}
			delete(p.Environment.Set, "B")
		}},
		{"ulimit", list{policy.SetUlimit("memlock=64k:-1", "--ulimit")}, func(p *policy.Policy) {
			p.Limits.Ulimits = map[string]policy.Ulimit{"memlock": {Soft: 65536, Hard: policy.Unlimited}}
		}},
		{"ulimits with keys of their own", list{
			policy.SetUlimit("nofile=1024:1024", "--ulimit"), policy.SetUlimit("fsize=1m", "--ulimit"),
			policy.SetUlimit("nproc=-1", "--ulimit"), policy.SetUlimit("cpu=3", "--ulimit"), policy.SetUlimit("stack=-1", "--ulimit"),
		}, func(p *policy.Policy) {
			l := &p.Limits
			l.OpenFiles, l.FileSize, l.PIDs, l.CPUTime, l.Stack = 1024, 1<<20, policy.Unlimited, 3e9, policy.Unlimited
		}},
		{"cap-add", list{policy.AddCapability("net_raw", "--cap-add")}, func(p *policy.Policy) {
			p.User.Capabilities = []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"}
		}},
		{"cap-drop", list{policy.DropCapability("CAP_KILL", "--cap-drop")}, func(p *policy.Policy) {
			p.User.Capabilities = []string{"CAP_CHOWN"}
		}},
		{"drop all, add one", list{policy.AddCapability("SETUID", "--cap-add"), policy.DropCapability("ALL", "--cap-drop")}, func(p *policy.Policy) {
			p.User.Capabilities = []string{"CAP_SETUID"}
		}},
		{"volume", list{policy.AddVolume("..:/up/:cow,optional", "-v")}, func(p *policy.Policy) {
			p.Filesystem.AllowHome = true
			p.Filesystem.Mounts = []policy.Mount{{Type: policy.Bind, Source: "/home/alice", Target: "/up", Access: policy.CopyOnWrite, Optional: true}}
		}},
		{"volume as docker has it", list{policy.AddVolume("/x:/y", "-v")}, func(p *policy.Policy) {
			p.Filesystem.Mounts = []policy.Mount{{Type: policy.Bind, Source: "/x", Target: "/y", Access: policy.ReadWrite}}
		}},
		{"tmpfs", list{policy.AddTmpfs("/t:size=64m,nosuid,ro", "--tmpfs")}, func(p *policy.Policy) {
			p.Filesystem.Mounts = []policy.Mount{{Type: policy.Tmpfs, Target: "/t", Access: policy.ReadOnly, Size: 64 << 20}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want, _, err := load(base)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(want)
			if want.Filesystem.AllowHome {
				tt.overrides = append(tt.overrides, scalar("filesystem.allow_home", "true"))
			}
			got, _, err := load(base, tt.overrides...)
			if err != nil {
				t.Fatal(err)
			}
			if len(want.Environment.Inherit) == 0 {
				want.Environment.Inherit = []string{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllCapabilities(t *testing.T) {
	p, _, err := load("version = 1", policy.AddCapability("all", "--cap-add"), policy.DropCapability("mknod", "--cap-drop"))
	if err != nil {
		t.Fatal(err)
	}
	all := policy.Capabilities()
	if len(all) != 41 || len(p.User.Capabilities) != 39 || cmp.Equal(p.User.Capabilities, all) {
		t.Errorf("%d of %d capabilities: %v", len(p.User.Capabilities), len(all), p.User.Capabilities)
	}
	for _, name := range p.User.Capabilities {
		if name == "CAP_SYS_PTRACE" || name == "CAP_MKNOD" {
			t.Errorf("%s is kept", name)
		}
	}
}

func TestOverrideFaults(t *testing.T) {
	for _, tt := range []struct {
		override policy.Override
		want     string
	}{
		{scalar("limits.memroy", "1g"), `there is no key "limits.memroy" that a flag can set; did you mean "limits.memory"?`},
		{scalar("filesystem", "x"), `there is no key "filesystem" that a flag can set`},
		{scalar("extends", "x"), `there is no key "extends" that a flag can set`},
		{scalar("version", "1"), `there is no key "version" that a flag can set`},
		{scalar("limits.memory.x", "1"), `there is no key "limits.memory.x" that a flag can set; did you mean "limits.memory"?`},
		{scalar("limits.memory", "-1g"), `"-1g" is not accepted: it does not begin with a number; write a size from 1MiB to 1024TiB ` + size + `"256MiB", or "unlimited"`},
		{scalar("limits.memory_low", "-1"), `"-1" is not accepted: it does not begin with a number; write a size from 0 to 1024TiB ` + size + `"64MiB"`},
		{scalar("limits.pids", "0"), `"0" is not accepted; write a whole number from 1 to 4194304, or "unlimited"`},
		{scalar("limits.cpus", "0x1p3"), `"0x1p3" is not accepted: it is not a number of CPUs; write a number of CPUs from 0.01 to 8192 such as 1.5, or "unlimited"`},
		{scalar("limits.cpus", "100000"), `the number 100000 is not accepted; write a number of CPUs from 0.01 to 8192 such as 1.5, or "unlimited"`},
		{scalar("filesystem.read_only", "yes"), `"yes" is not accepted: it is neither true nor false; write true or false`},
		{scalar("user.capabilities", "CAP_SYS_PTRACE"), `"CAP_SYS_PTRACE": it is never given: with it a job could enter the processes that guard it`},
		{policy.SetMemorySwap("512m", "--flag"), `the total of memory and swap, 512MiB, is less than the memory, 1GiB`},
		{policy.SetMemorySwap("lots", "--flag"), `"lots" is not accepted: it does not begin with a number`},
		{policy.SetUser("root", "--flag"), `"root" is not accepted: it is not a whole number; write a whole number from 0 to 4294967294`},
		{policy.SetUser("", "--flag"), `"" is not accepted: it is not a whole number; write a whole number from 0 to 4294967294`},
		{policy.SetUser("1:", "--flag"), `"" is not accepted: it is not a whole number; write a whole number from 0 to 4294967294`},
		{policy.SetUser("4294967296", "--flag"), `the number 4294967296 is not accepted; write a whole number from 0 to 4294967294`},
		{policy.SetVariable("=x", "--flag"), `"=x": the name of a variable is empty`},
		{policy.SetVariable("A=\x00", "--flag"), `"A": the value holds a NUL`},
		{policy.SetVariable("A\n", "--flag"), `"A\n": it holds a control character`},
		{policy.SetUlimit("nofile", "--flag"), `"nofile" is not accepted: it is not NAME=SOFT[:HARD]`},
		{policy.SetUlimit("nofile=1024:2048", "--flag"), `"nofile=1024:2048" is not accepted: brig holds one limit for soft and hard; write nofile=2048`},
		{policy.SetUlimit("nofile=2:1", "--flag"), `"nofile=2:1" is not accepted: the soft limit 2 is above the hard limit 1`},
		{policy.SetUlimit("core=0", "--flag"), `core is held at 1 byte by brig, since 0 does not keep the host's core handler from starting`},
		{policy.SetUlimit("nice=x", "--flag"), `"nice=x" is not accepted: "x" is not a whole number`},
		{policy.AddCapability("FROB", "--flag"), `"FROB": there is no such capability`},
		{policy.AddCapability("sys_ptrace", "--flag"), `"sys_ptrace": it is never given: with it a job could enter the processes that guard it`},
		{policy.AddVolume("/x", "--flag"), `"/x" is not accepted: it is not SOURCE:TARGET[:ro|rw|cow|copy]; for an empty directory there is --tmpfs TARGET`},
		{policy.AddVolume("/a:/b:ro:z", "--flag"), `"/a:/b:ro:z" is not accepted: it has too many colons; a path with a colon can be given in a policy file`},
		{policy.AddVolume("cache:/b", "--flag"), `"cache:/b" is not accepted: source "cache" is not a path, and there are no named volumes; write "./cache"`},
		{policy.AddVolume(":/b", "--flag"), `":/b" is not accepted: source "": it is empty`},
		{policy.AddVolume("/a:b", "--flag"), `"/a:b" is not accepted: target "b": it is not an absolute path`},
		{policy.AddVolume("/a:/proc/x", "--flag"), `"/a:/proc/x" is not accepted: target "/proc/x": /proc is made by brig itself`},
		{policy.AddVolume("/a:/b/../../etc", "--flag"), `"/a:/b/../../etc" is not accepted: target "/b/../../etc": it contains ".."`},
		{policy.AddVolume("/a:/b:Z", "--flag"), `"/a:/b:Z" is not accepted: option "Z" is none of ro, rw, cow, copy and optional`},
		{policy.AddVolume("/a:/b:ro,rw", "--flag"), `"/a:/b:ro,rw" is not accepted: both ro and rw are given`},
		{policy.AddTmpfs("/t:exec", "--flag"), `"/t:exec" is not accepted: option "exec" is none of size=SIZE, ro, rw, nosuid and nodev`},
		{policy.AddTmpfs("/t:size=1", "--flag"), `"/t:size=1" is not accepted: size: "1" is not accepted; write a size from 4KiB to 1024TiB ` + size + `"64MiB"`},
	} {
		_, _, err := load("version = 1", tt.override)
		if want := "--flag: " + tt.want; message(err) != want {
			t.Errorf("%s %q: got\n%v\nwant\n%s", tt.override.Key, tt.override.Value, err, want)
		}
	}
	_, _, err := load("version = 1", policy.AddCapability("KILL", "--cap-add"), policy.DropCapability("kill", "--cap-drop"))
	if want := "--cap-drop: CAP_KILL is both added and dropped"; message(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, _, err = load("version = 1", scalar("limits.memory", "unlimited"), policy.SetMemorySwap("1g", "--memory-swap"))
	if want := "--memory-swap: it is the total of memory and swap, and the memory is unlimited: set --memory, too"; message(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestOriginOfInherited: a variable that is no longer set has no origin either.
func TestOriginOfInherited(t *testing.T) {
	_, o, err := load("version = 1\nenvironment.set.B = \"1\"\n", policy.SetVariable("B", "-e"))
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Of("environment.set.B").String(); got != "default" {
		t.Errorf("environment.set.B comes from %s", got)
	}
	if got := o.Of("environment.inherit").String(); got != "-e" {
		t.Errorf("environment.inherit comes from %s", got)
	}
}

func TestParseVolume(t *testing.T) {
	got, err := policy.ParseVolume("./a/../b:/c", "/d")
	if want := (policy.Mount{Type: policy.Bind, Source: "/d/b", Target: "/c", Access: policy.ReadWrite}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}
