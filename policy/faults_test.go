package policy_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
)

const (
	testHome = "/home/alice"
	testDir  = "/home/alice/project"
)

// load loads a policy file of the given text as /p/x.toml, with overrides.
func load(text string, overrides ...policy.Override) (*policy.Policy, *policy.Origins, error) {
	return policy.Load(policy.LoadOptions{
		Name: "/p/x.toml", Shipped: configs.FS, Dir: testDir, HomeDir: testHome, Overrides: overrides,
		Files: fstest.MapFS{"p/x.toml": {Data: []byte(text)}},
	})
}

// faults are the lines of an error, without the name of the file.
func faults(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(strings.ReplaceAll(err.Error(), "/p/x.toml:", ""), "\n")
}

const size = `in B, kB, KiB, MB, MiB, GB, GiB, TB or TiB, such as `

// TestFaults pins what is said about each kind of fault. Every text is below
// "version = 1" on line 1.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"unknown key at the top", `colour = "red"`, []string{
			`2: colour: there is no such key in this file; it has version, description, extends, limits, enforcement, filesystem, user, network, seccomp, environment`,
		}},
		{"misspelt key", "[limits]\n\nmemroy = \"1GiB\"", []string{`4: limits.memroy: there is no such key in [limits]; did you mean "memory"?`}},
		{"swapped letters", "user.gdi = 1", []string{`2: user.gdi: there is no such key in [user]; did you mean "gid"?`}},
		{"dash for underscore", "[limits]\nwall-time = \"1s\"", []string{`3: limits.wall-time: there is no such key in [limits]; did you mean "wall_time"?`}},
		{"right key, wrong table", `memory = "1GiB"`, []string{`2: memory: there is no such key in this file; did you mean "limits.memory"?`}},
		{"unknown table", "[limit]\npids = 1", []string{`2: limit: there is no such key in this file; did you mean "limits"?`}},
		{"unknown key in a mount", "[[filesystem.mount]]\ntarget = \"/a\"\ntype = \"tmpfs\"\n[[filesystem.mount]]\ntarget = \"/b\"\nsource = \"/b\"\nacess = \"ro\"", []string{
			`8: filesystem.mount[1].acess: there is no such key in [filesystem.mount[1]]; did you mean "access"?`,
		}},
		{"unknown key in an inline table", "[seccomp]\nrule = [\n  { names = [\"read\"], action = \"deny\", arg = [] },\n]", []string{
			`4: seccomp.rule[0].arg: there is no such key in [seccomp.rule[0]]; did you mean "args"?`,
		}},
		{"size without unit", `limits.memory = "1024"`, []string{
			`2: limits.memory: "1024" is not accepted: a unit is missing (did you mean "1024B"?); write a size from 1MiB to 1024TiB ` + size + `"256MiB", or "unlimited"`,
		}},
		{"size as a number", `limits.memory = 268435456`, []string{
			`2: limits.memory: the number 268435456 is not accepted; write a size from 1MiB to 1024TiB ` + size + `"256MiB", or "unlimited"; did you mean "256MiB"?`,
		}},
		{"wrong unit", `limits.output = "16MIB"`, []string{
			`2: limits.output: "16MIB" is not accepted: "MIB" is not a unit (did you mean "MiB"?); write a size from 0 to 1024TiB ` + size + `"16MiB", or "unlimited"`,
		}},
		{"docker's unit", `limits.output = "16m"`, []string{
			`2: limits.output: "16m" is not accepted: "m" is not a unit; write a size from 0 to 1024TiB ` + size + `"16MiB", or "unlimited"`,
		}},
		{"negative size", `limits.swap = "-1"`, []string{
			`2: limits.swap: "-1" is not accepted: it does not begin with a number; write a size from 0 to 1024TiB ` + size + `"0", or "unlimited"`,
		}},
		{"absurd size", `limits.memory = "2000TiB"`, []string{
			`2: limits.memory: "2000TiB" is not accepted; write a size from 1MiB to 1024TiB ` + size + `"256MiB", or "unlimited"`,
		}},
		{"size beyond 64 bits", `limits.memory = "99999999999999999999GiB"`, []string{
			`2: limits.memory: "99999999999999999999GiB" is not accepted: it is more than 2^63 bytes; write a size from 1MiB to 1024TiB ` + size + `"256MiB", or "unlimited"`,
		}},
		{"tiny memory", `limits.memory = "64KiB"`, []string{
			`2: limits.memory: "64KiB" is not accepted; write a size from 1MiB to 1024TiB ` + size + `"256MiB", or "unlimited"`,
		}},
		{"unlimited where there is a bound", `limits.open_files = "unlimited"`, []string{
			`2: limits.open_files: "unlimited" is not accepted; write a whole number from 8 to 1048576`,
		}},
		{"unlimited protection", `limits.memory_low = "unlimited"`, []string{
			`2: limits.memory_low: "unlimited" is not accepted; write a size from 0 to 1024TiB ` + size + `"64MiB"`,
		}},
		{"duration without unit", `limits.wall_time = "10"`, []string{
			`2: limits.wall_time: "10" is not accepted: a unit is missing (did you mean "10s"?); write a duration from 1ms to 8760h such as "10s", or "unlimited"`,
		}},
		{"duration as a number", `limits.cpu_time = 2`, []string{
			`2: limits.cpu_time: the number 2 is not accepted; write a duration from 1ms to 8760h such as "2s", or "unlimited"; did you mean "2s"?`,
		}},
		{"no duration", `limits.cpu_time = "0s"`, []string{
			`2: limits.cpu_time: "0s" is not accepted: it is not more than 0; write a duration from 1ms to 8760h such as "2s", or "unlimited"`,
		}},
		{"a date", `limits.cpu_time = 2026-01-01`, []string{
			`2: limits.cpu_time: a date or time is not accepted; write a duration from 1ms to 8760h such as "2s", or "unlimited"`,
		}},
		{"count as a string", `limits.pids = "64"`, []string{`2: limits.pids: "64" is not accepted; write a whole number from 1 to 4194304, or "unlimited"`}},
		{"no process", `limits.pids = 0`, []string{`2: limits.pids: the number 0 is not accepted; write a whole number from 1 to 4194304, or "unlimited"`}},
		{"half a process", `limits.pids = 0.5`, []string{`2: limits.pids: the number 0.5 is not accepted; write a whole number from 1 to 4194304, or "unlimited"`}},
		{"weight", `limits.cpu_weight = 10001`, []string{`2: limits.cpu_weight: the number 10001 is not accepted; write a whole number from 1 to 10000`}},
		{"no CPU", `limits.cpus = 0`, []string{`2: limits.cpus: the number 0 is not accepted; write a number of CPUs from 0.01 to 8192 such as 1.5, or "unlimited"`}},
		{"CPU not a number", `limits.cpus = nan`, []string{`2: limits.cpus: the number NaN is not accepted; write a number of CPUs from 0.01 to 8192 such as 1.5, or "unlimited"`}},
		{"CPUs without end", `limits.cpus = inf`, []string{`2: limits.cpus: the number +Inf is not accepted; write a number of CPUs from 0.01 to 8192 such as 1.5, or "unlimited"`}},
		{"cpuset", `limits.cpuset = "0-1,x"`, []string{`2: limits.cpuset: "0-1,x": it is not a list like "0-1,3"`}},
		{"cpuset backwards", `limits.cpuset = "3-1"`, []string{`2: limits.cpuset: "3-1": the range "3-1" ends before it begins`}},
		{"ulimit with a key of its own", "[limits.ulimit]\nnofile = 5", []string{`3: limits.ulimit.nofile: nofile is set with limits.open_files`}},
		{"ulimit core", "[limits.ulimit]\ncore = 0", []string{`3: limits.ulimit.core: core is held at 1 byte by brig, since 0 does not keep the host's core handler from starting`}},
		{"unknown ulimit", "[limits.ulimit]\nmem = 5", []string{`3: limits.ulimit.mem: there is no rlimit "mem"; there are as, data, locks, memlock, msgqueue, nice, rss, rtprio, rttime, sigpending`}},
		{"soft above hard", "[limits.ulimit]\nas = { soft = \"unlimited\", hard = 7 }", []string{`3: limits.ulimit.as: the soft limit unlimited is above the hard limit 7`}},
		{"io without a rate", "[[limits.io]]\ndevice = \"/\"", []string{`2: limits.io[0]: it sets none of read_bps, write_bps, read_iops and write_iops`}},
		{"io twice", "[[limits.io]]\ndevice = \"/\"\nread_iops = 1\n[[limits.io]]\ndevice = \"/.\"\nread_iops = 2", []string{`5: limits.io[1]: it is about the same as limits.io[0]`}},
		{"mode", `enforcement.limits = "kernal"`, []string{
			`2: enforcement.limits: "kernal" is not accepted; write one of "kernel", "kernel-or-supervised", "best-effort"; did you mean "kernel"?`,
		}},
		{"root", `filesystem.root = "hots"`, []string{`2: filesystem.root: "hots": it is none of "host", "dir:PATH" and "image:REFERENCE"`}},
		{"root of everything", `filesystem.root = "dir:/"`, []string{
			`2: filesystem.root: root "/" is the whole file system, which is not given to a job; give a directory inside it, or set filesystem.allow_home = true if that is what you want`,
		}},
		{"bool", `filesystem.read_only = "yes"`, []string{`2: filesystem.read_only: "yes" is not accepted; write true or false`}},
		{"uid", `user.uid = 4294967295`, []string{`2: user.uid: the number 4294967295 is not accepted; write a whole number from 0 to 4294967294`}},
		{"user by name", `user.uid = "alice"`, []string{`2: user.uid: "alice" is not accepted; write a whole number from 0 to 4294967294`}},
		{"capability without prefix", `user.capabilities = ["CHOWN"]`, []string{`2: user.capabilities: "CHOWN": there is no such capability; did you mean "CAP_CHOWN"?`}},
		{"ptrace", `user.capabilities = ["CAP_SYS_PTRACE"]`, []string{`2: user.capabilities: "CAP_SYS_PTRACE": it is never given: with it a job could enter the processes that guard it`}},
		{"listed twice", `user.capabilities = ["CAP_KILL", "CAP_KILL"]`, []string{`2: user.capabilities: "CAP_KILL" is listed twice`}},
		{"list as a string", `environment.inherit = "LANG"`, []string{`2: environment.inherit: "LANG" is not accepted; write an array of strings such as ["LANG", "TERM"]`}},
		{"variable with =", `environment.inherit = ["A=B"]`, []string{`2: environment.inherit: "A=B": the name of a variable holds no "="`}},
		{"variable with NUL", `environment.set = { A = "x\u0000y" }`, []string{`2: environment.set.A: the value holds a NUL`}},
		{"variable inherited and set", "[environment]\ninherit = [\"A\"]\nset = { A = \"1\" }", []string{`3: environment.inherit: "A" is inherited here, and set, too`}},
		{"system call", `seccomp.deny = ["so cket"]`, []string{`2: seccomp.deny: "so cket": it is neither the name of a system call nor a @group`}},
		{"errno", `seccomp.on_deny = "eperm"`, []string{`2: seccomp.on_deny: "eperm": it is neither the name of an errno such as "EPERM" nor "kill"`}},
		{"rule without action", "[[seccomp.rule]]\nnames = [\"read\"]", []string{`2: seccomp.rule[0]: "action" is missing; write a string such as "allow", "deny", "kill" or "ENOSYS"`}},
		{"argument", "[[seccomp.rule]]\nnames = [\"read\"]\naction = \"deny\"\nargs = [{ index = 6, op = \"eq\", value = -1 }]", []string{
			`5: seccomp.rule[0].args[0].index: the number 6 is not accepted; write a whole number from 0 to 5`,
			`5: seccomp.rule[0].args[0].value: the number -1 is not accepted; write a whole number from 0, or a string in hexadecimal such as "0xffffffff00000000"`,
		}},
		{"table as a value", `limits = 3`, []string{`2: limits: the number 3 is not accepted; write a table`}},
		{"mount as a table", "[filesystem.mount]\ntarget = \"/x\"", []string{`2: filesystem.mount: a table is not accepted; write an array of tables`}},
		{"memory_low", "[limits]\nmemory_low = \"2GiB\"", []string{`3: limits.memory_low: limits.memory_low = 2GiB is above limits.memory = 1GiB`}},
		{"memory_low beside a memory that is wrong", "[limits]\nmemory_low = \"2GiB\"\nmemory = \"4\"", []string{
			`4: limits.memory: "4" is not accepted: a unit is missing (did you mean "4B"?); write a size from 1MiB to 1024TiB ` + size + `"256MiB", or "unlimited"`,
		}},
		{"unknown system call", `seccomp.deny = ["bind", "sokcet"]`, []string{`2: seccomp.deny: "sokcet" is not a system call: did you mean "socket"?`}},
		{"denial without effect", "[[seccomp.rule]]\nnames = [\"personality\"]\naction = \"allow\"\nargs = [{ index = 0, op = \"eq\", value = 0 }]\n[seccomp]\ndeny = [\"personality\"]", []string{`2: seccomp.rule[0]: "personality" cannot take effect: deny[0] denies it, and deny goes before rules`}},
		{"unknown errno", `seccomp.on_deny = "EWHAT"`, []string{`2: seccomp.on_deny: "EWHAT" is neither an errno name (such as "EPERM") nor "kill"`}},
		{"memory_high", "[limits]\nmemory_high = \"1GiB\"\nmemory = \"512MiB\"", []string{`3: limits.memory_high: limits.memory_high = 1GiB is above limits.memory = 512MiB`}},
		{"escape sequences stay inside", `description = "\u001b[31m"`, []string{`2: description: "\x1b[31m": it holds a control character`}},
		{"and in keys", `"\u001b[31m" = 1`, []string{
			`2: "\x1b[31m": there is no such key in this file; it has version, description, extends, limits, enforcement, filesystem, user, network, seccomp, environment`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load("version = 1\n" + tt.text + "\n")
			if diff := cmp.Diff(tt.want, faults(err)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMountFaults(t *testing.T) {
	const whole = `which is not given to a job; give a directory inside it, or set filesystem.allow_home = true if that is what you want`
	for _, tt := range []struct{ name, text, want string }{
		{"relative target", `target = "work"`, `3: filesystem.mount[0].target: "work": it is not an absolute path`},
		{"target with ..", `target = "/work/../etc"`, `3: filesystem.mount[0].target: "/work/../etc": it contains ".."`},
		{"unclean target", `target = "/work//x/"`, `3: filesystem.mount[0].target: "/work//x/": write it as "/work/x"`},
		{"the root", `target = "/"`, `3: filesystem.mount[0].target: "/": the root is set with filesystem.root`},
		{"proc", `target = "/proc"`, `3: filesystem.mount[0].target: "/proc": /proc is made by brig itself`},
		{"below sys", `target = "/sys/fs/cgroup"`, `3: filesystem.mount[0].target: "/sys/fs/cgroup": /sys is made by brig itself`},
		{"below dev", `target = "/dev/kvm"`, `3: filesystem.mount[0].target: "/dev/kvm": /dev is made by brig itself`},
		{"no target", `source = "/x"`, `2: filesystem.mount[0]: "target" is missing; write a string such as "/work"`},
		{"no source", `target = "/x"`, `2: filesystem.mount[0]: source is missing; an empty directory has type = "tmpfs"`},
		{"somebody's home", "target = \"/x\"\nsource = \"~bob/x\"", `4: filesystem.mount[0].source: "~bob/x": only ~ and ~/ are understood, for your own home directory; write ./~bob/x for a file of that name`},
		{"size of a bind", "target = \"/x\"\nsource = \"/x\"\nsize = \"1MiB\"", `2: filesystem.mount[0]: size is for type = "tmpfs"`},
		{"source of a tmpfs", "target = \"/x\"\nsource = \"/x\"\ntype = \"tmpfs\"", `2: filesystem.mount[0]: a tmpfs has no source`},
		{"tmpfs cow", "target = \"/x\"\naccess = \"cow\"\ntype = \"tmpfs\"", `2: filesystem.mount[0]: a tmpfs has access ro or rw, not cow`},
		{"optional tmpfs", "target = \"/x\"\noptional = true\ntype = \"tmpfs\"", `2: filesystem.mount[0]: a tmpfs is always there: optional is for binds`},
		{"same target", "target = \"/x\"\nsource = \"/a\"\n[[filesystem.mount]]\ntarget = \"/x\"\nsource = \"/b\"", `5: filesystem.mount[1]: it is about the same as filesystem.mount[0]`},
		{"home", "target = \"/x\"\nsource = \"~\"", `2: filesystem.mount[0]: source "/home/alice" is your whole home directory, ` + whole},
		{"home by another name", "target = \"/x\"\nsource = \"/home/bob/../alice/\"", `2: filesystem.mount[0]: source "/home/alice" is your whole home directory, ` + whole},
		{"above home", "target = \"/x\"\nsource = \"/home\"", `2: filesystem.mount[0]: source "/home" is a directory that holds your home directory, ` + whole},
		{"everything", "target = \"/x\"\nsource = \"/\"", `2: filesystem.mount[0]: source "/" is the whole file system, ` + whole},
		{"cow with isolated", "target = \"/x\"\nsource = \"/x\"\naccess = \"cow\"\n[user]\nmap = \"isolated\"", `2: filesystem.mount[0]: access cow needs your own user id, which user.map = "isolated" keeps out of the sandbox; use access copy or ro, or map keep-id, single or auto`},
		{"rw with isolated", "target = \"/x\"\nsource = \"/x\"\naccess = \"rw\"\n[user]\nmap = \"isolated\"", `2: filesystem.mount[0]: access rw needs your own user id, which user.map = "isolated" keeps out of the sandbox; use access copy or ro, or map keep-id, single or auto`},
		{"home, and that is meant", "target = \"/x\"\nsource = \"~\"\n[filesystem]\nallow_home = true", ``},
		{"below home", "target = \"/x\"\nsource = \"~/x\"", ``},
		{"beside home", "target = \"/x\"\nsource = \"/home/alice2\"", ``},
		{"beside a reserved target", "target = \"/devices\"\nsource = \"/x\"", ``},
		{"copy with isolated", "target = \"/x\"\nsource = \"/x\"\naccess = \"copy\"\n[user]\nmap = \"isolated\"", ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load("version = 1\n[[filesystem.mount]]\n" + tt.text + "\n")
			if got := strings.Join(faults(err), "\n"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestAllAtOnce shows that no fault hides another, and that they come in the
// order of the file, those of the flags last.
func TestAllAtOnce(t *testing.T) {
	_, _, err := load("version = 2\n[user]\nuid = -1\nmap = \"none\"\n[limits]\npids = -5\nmemory_low = \"2GiB\"\n",
		policy.Override{Key: "limits.stack", Value: "lots", Origin: "--stack"})
	want := []string{
		`1: version: the number 2 is not accepted; write a whole number from 1 to 1`,
		`3: user.uid: the number -1 is not accepted; write a whole number from 0 to 4294967294`,
		`4: user.map: "none" is not accepted; write one of "isolated", "keep-id", "single", "auto"`,
		`6: limits.pids: the number -5 is not accepted; write a whole number from 1 to 4194304, or "unlimited"`,
		`7: limits.memory_low: limits.memory_low = 2GiB is above limits.memory = 1GiB`,
		`--stack: "lots" is not accepted: it does not begin with a number; write a size from 64KiB to 1024TiB ` + size + `"64MiB", or "unlimited"`,
	}
	if diff := cmp.Diff(want, faults(err)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	var list policy.FaultList
	if !errors.As(err, &list) || len(list) != len(want) || list[1].Line != 3 || list[1].Key != "user.uid" {
		t.Errorf("no FaultList with places: %#v", list)
	}
}

func TestFilesRefused(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", `1: "version" is missing; write a whole number from 1 to 1`},
		{"syntax", "version = 1\n[limits\n", `2: it is not TOML: expected '.' or ']' to end table name, but got '\n' instead`},
		{"key twice", "version = 1\nversion = 1\n", `2: it is not TOML: Key 'version' has already been defined.`},
		{"NUL", "version = 1\n# \x00\n", `2: it holds a NUL byte; a policy is text in UTF-8`},
		{"not UTF-8", "version = 1\n\n# \xff\n", `3: it is not UTF-8`},
		{"UTF-16", "\xff\xfev\x00", `1: it holds a NUL byte; a policy is text in UTF-8`},
		{"too large", strings.Repeat("#", 1<<20+1), ` it cannot be read: it is larger than 1MiB`},
		{"nested", "version = 1\nx = " + strings.Repeat("[", 1<<19), `2: it has values nested more than 16 deep; no policy needs that`},
		{"nested tables", "version = 1\nx = " + strings.Repeat("{a=", 1<<17), `2: it has values nested more than 16 deep; no policy needs that`},
		{"long key", strings.Repeat("a.", 1<<18) + "a = 1", `1: it has a key of more than 16 parts; no policy needs that`},
		{"many tables", strings.Repeat("[[a]]\n", 1<<17), `10000: it has more than 10000 keys; no policy needs that`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load(tt.text)
			if got := strings.Join(faults(err), "\n"); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestFilesNotThere(t *testing.T) {
	files := fstest.MapFS{"dir.toml/x": {}, "pipe.toml": {Mode: fs.ModeNamedPipe}}
	for _, tt := range []struct {
		name, want string
		cause      error
	}{
		{"/nowhere.toml", `/nowhere.toml: it cannot be read: file does not exist`, fs.ErrNotExist},
		{"/dir.toml", `/dir.toml: it cannot be read: it is not a regular file`, nil},
		{"/pipe.toml", `/pipe.toml: it cannot be read: it is not a regular file`, nil},
		{"defualt", `there is no policy called "defualt"; shipped are ci, compile, default, dev, image, judge, strict, unpack, and a file is given with its path (./defualt.toml); did you mean "default"?`, policy.ErrNotFound},
		{"a b", `policy "a b": a name consists of letters, digits, dots, - and _; a file is given with a slash or the ending .toml`, nil},
	} {
		_, _, err := policy.Load(policy.LoadOptions{Name: tt.name, Shipped: configs.FS, Files: files, Dir: testDir, HomeDir: testHome})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: got  %v\nwant %s", tt.name, err, tt.want)
		}
		if tt.cause != nil && !errors.Is(err, tt.cause) {
			t.Errorf("%s: the cause is not %v", tt.name, tt.cause)
		}
	}
}
