package policy_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
)

// files makes a file system from pairs of name and text.
func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte("version = 1\n" + pairs[i+1])}
	}
	return m
}

// layered loads a policy over the three places where policies are.
func layered(name string, shipped, system fs.FS, overrides ...policy.Override) (*policy.Policy, *policy.Origins, error) {
	return policy.Load(policy.LoadOptions{
		Name: name, Shipped: shipped, Files: system, SystemDir: "/etc/brig", UserDir: "/home/alice/.config/brig",
		Dir: testDir, HomeDir: testHome, Overrides: overrides,
	})
}

func TestLayers(t *testing.T) {
	shipped := files("p.toml", "[limits]\npids = 10\nopen_files = 10\nwall_time = \"1s\"\ncpu_time = \"1s\"\n",
		"base.toml", "[limits]\nwall_time = \"9s\"\n")
	system := files(
		"etc/brig/p.toml", "[limits]\n# more\npids = 20\nwall_time = \"2s\"\n",
		"home/alice/.config/brig/p.toml", "limits.wall_time = \"3s\"\n",
		"home/alice/.config/brig/own.toml", "extends = \"base\"\nlimits.pids = 5\n",
		"etc/brig/replaced.toml", "limits.pids = 7\n",
		"home/alice/.config/brig/replaced.toml", "extends = \"base\"\n",
		"home/alice/project/p.toml", "limits.pids = 99\n", // a project's own file is not read
	)
	p, o, err := layered("p", shipped, system, policy.Override{Key: "limits.output", Value: "1k", Origin: "--output-limit"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range p.Explain(o) {
		got[s.Key] = s.Value + " " + s.Origin.String()
	}
	for key, want := range map[string]string{
		"limits.wall_time":  `"3s" /home/alice/.config/brig/p.toml:2`,
		"limits.pids":       `20 /etc/brig/p.toml:4`,
		"limits.open_files": `10 shipped p.toml:4`,
		"limits.output":     `"1KiB" --output-limit`,
		"limits.swap":       `"0" default`,
	} {
		if got[key] != want {
			t.Errorf("%s: got %s, want %s", key, got[key], want)
		}
	}
	if p, _, err := layered("own", shipped, system); err != nil || p.Limits.PIDs != 5 || p.Limits.WallTime.String() != "9s" {
		t.Errorf("own: %+v, %v", p, err)
	}
	// What extends a policy takes the place of the layers below it.
	if p, _, err := layered("replaced", shipped, system); err != nil || p.Limits.PIDs != 256 || p.Limits.WallTime.String() != "9s" {
		t.Errorf("replaced: %+v, %v", p, err)
	}
}

// TestMerge shows how lists and tables of a higher layer meet those below.
func TestMerge(t *testing.T) {
	shipped := files("base.toml", `
[limits]
ulimit = { nice = 1, memlock = "1KiB" }
[[limits.io]]
device = "/"
read_iops = 1
[[filesystem.mount]]
source = "/a"
target = "/work"
access = "rw"
[[filesystem.mount]]
type = "tmpfs"
target = "/cache"
[user]
capabilities = ["CAP_KILL"]
[seccomp]
allow = ["ptrace"]
deny = ["socket"]
[[seccomp.rule]]
names = ["personality"]
action = "allow"
args = [{ index = 0, op = "eq", value = 8 }]
[environment]
inherit = ["A", "B"]
set = { C = "1", D = "1" }
`)
	system := files("etc/brig/x.toml", `extends = "base"
[limits]
ulimit = { nice = 2 }
[[limits.io]]
device = "/"
write_iops = 2
[[limits.io]]
device = "/dev/sda"
write_iops = 3
[[filesystem.mount]]
source = "sub"
target = "/work"
[[filesystem.mount]]
source = "~/x"
target = "/x"
optional = true
[user]
capabilities = ["CAP_CHOWN"]
[seccomp]
allow = ["@keyring"]
deny = ["bind"]
[[seccomp.rule]]
names = ["personality"]
action = "ENOSYS"
args = [{ index = 0, op = "eq", value = 8 }]
[environment]
inherit = ["A", "C"]
set = { D = "2" }
`)
	p, o, err := layered("x", shipped, system)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Defaults()
	want.Name = "x"
	want.User.GID = 1000
	want.Limits.Ulimits = map[string]policy.Ulimit{"nice": {Soft: 2, Hard: 2}, "memlock": {Soft: 1024, Hard: 1024}}
	want.Limits.IO = []policy.IOLimit{{Device: "/", WriteIOPS: 2}, {Device: "/dev/sda", WriteIOPS: 3}}
	want.Filesystem.Mounts = []policy.Mount{
		{Type: policy.Bind, Source: "/etc/brig/sub", Target: "/work", Access: policy.ReadOnly},
		{Type: policy.Tmpfs, Target: "/cache", Access: policy.ReadWrite},
		{Type: policy.Bind, Source: "/home/alice/x", Target: "/x", Access: policy.ReadOnly, Optional: true},
	}
	want.User.Capabilities = []string{"CAP_CHOWN"}
	want.Seccomp.Allow = []string{"@keyring"}
	want.Seccomp.Deny = []string{"socket", "bind"}
	want.Seccomp.Rules = []seccomp.Rule{{Names: []string{"personality"}, Action: "ENOSYS", Args: []seccomp.Arg{{Op: "eq", Value: 8}}}}
	want.Environment.Inherit = []string{"A", "C"}
	want.Environment.Set["D"] = "2"
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	for key, want := range map[string]string{
		"filesystem.mount[/work]":    "/etc/brig/x.toml:11",
		"filesystem.mount[/cache]":   "shipped base.toml:12",
		"limits.io[/dev/sda]":        "/etc/brig/x.toml:8",
		"limits.ulimit.memlock":      "shipped base.toml:4",
		"seccomp.rule[0]":            "/etc/brig/x.toml:23",
		"environment.set.D":          "/etc/brig/x.toml:29",
		"environment.set.C":          "default",
		"environment.set.PATH":       "default",
		"filesystem.mount[/nowhere]": "default",
	} {
		if got := o.Of(key).String(); got != want {
			t.Errorf("%s comes from %s, want %s", key, got, want)
		}
	}
}

func TestExtendsFaults(t *testing.T) {
	shipped := files("a.toml", "", "selfish.toml", "extends = \"selfish\"\n", "file.toml", "extends = \"./a.toml\"\n")
	deep := files()
	for i := range 9 {
		deep[fmt.Sprintf("d/%d.toml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "version = 1\nextends = \"%d.toml\"\n", i+1)}
	}
	deep["d/9.toml"] = &fstest.MapFile{Data: []byte("version = 1\n")}
	system := files("d/self.toml", "extends = \"./self.toml\"\n", "d/x.toml", "extends = \"sub/y.toml\"\n",
		"d/sub/y.toml", "\nextends = \"../x.toml\"\n", "d/typo.toml", "extends = \"aa\"\nx = 1\n",
		"d/gone.toml", "extends = \"gone/z.toml\"\n", "d/number.toml", "extends = 3\n", "d/base.toml", "pids = 1\n",
		"d/both.toml", "extends = \"base.toml\"\npids = 1\n")
	for _, tt := range []struct{ name, want string }{
		{"/d/self.toml", `/d/self.toml:2: extends: it goes round in a circle: /d/self.toml -> /d/self.toml`},
		{"/d/x.toml", `/d/sub/y.toml:3: extends: it goes round in a circle: /d/x.toml -> /d/sub/y.toml -> /d/x.toml`},
		{"selfish", `shipped selfish.toml:2: extends: it goes round in a circle: selfish.toml -> selfish.toml`},
		{"file", `shipped file.toml:2: extends: "./a.toml" is a file; a shipped policy extends shipped ones only`},
		{"/d/typo.toml", `/d/typo.toml:2: extends: there is no shipped policy called "aa"; there are a, file, selfish, and a file is written with a slash ("./aa.toml"); did you mean "a"?
/d/typo.toml:3: x: there is no such key in this file; it has version, description, extends, limits, enforcement, filesystem, user, network, seccomp, environment`},
		{"/d/gone.toml", `/d/gone.toml:2: extends: "/d/gone/z.toml" does not exist`},
		{"/d/number.toml", `/d/number.toml:2: extends: the number 3 is not accepted; write a string such as "strict"`},
		{"/d/both.toml", `/d/base.toml:2: pids: there is no such key in this file; did you mean "limits.pids"?
/d/both.toml:3: pids: there is no such key in this file; did you mean "limits.pids"?`},
	} {
		_, _, err := layered(tt.name, shipped, system)
		if message(err) != tt.want {
			t.Errorf("%s: got\n%v\nwant\n%s", tt.name, err, tt.want)
		}
	}
	_, _, err := layered("/d/0.toml", shipped, deep)
	want := `/d/7.toml:2: extends: the chain is longer than 8: /d/0.toml -> /d/1.toml -> /d/2.toml -> /d/3.toml -> /d/4.toml -> /d/5.toml -> /d/6.toml -> /d/7.toml -> /d/8.toml`
	if message(err) != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, _, err := layered("/d/2.toml", shipped, deep); err != nil {
		t.Errorf("a chain of 8: %v", err)
	}
}

// imagePolicy lets a package manager own the files of its own root.
const imagePolicy = "image"

// TestShipped loads every shipped policy and holds what they promise.
func TestShipped(t *testing.T) {
	names := policy.ShippedNames(configs.FS)
	if want := []string{"ci", "compile", "default", "dev", "image", "judge", "strict", "unpack"}; !cmp.Equal(names, want) {
		t.Fatalf("shipped are %v, want %v", names, want)
	}
	for _, name := range names {
		text, err := fs.ReadFile(configs.FS, name+".toml")
		if err != nil {
			t.Fatal(err)
		}
		own := name == "unpack" // brig's own program, which sets owners
		use := "\n#   brig run "
		if own {
			use = "\n#   brig load "
		}
		if !strings.HasPrefix(string(text), "# "+name+": ") || !strings.Contains(string(text), use) {
			t.Errorf("%s does not open with what it is for and the command that uses it", name)
		}
		p, _, err := layered(name, configs.FS, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Network.Mode != policy.NetworkNone || p.Description == "" || len(p.User.Capabilities) > 0 && !own && name != imagePolicy || p.Filesystem.AllowHome {
			t.Errorf("%s gives more than it should: %+v", name, p)
		}
	}
}

// TestHomeIsNotGiven: in one's home directory the policies that give the
// current directory say what to do instead; -v and allow_home are ways out.
func TestHomeIsNotGiven(t *testing.T) {
	opts := policy.LoadOptions{Shipped: configs.FS, Dir: testHome, HomeDir: testHome}
	_, _, err := policy.Load(opts)
	want := `shipped default.toml:32: filesystem.mount[0]: source "/home/alice" is your whole home directory, which is not given to a job; ` +
		`change into the directory of a project, give one with -v DIR:/work, or use --policy strict, which gives none`
	if message(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	for _, name := range []string{"judge", "strict"} {
		opts.Name = name
		if _, _, err := policy.Load(opts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	opts.Name = "default"
	opts.Overrides = []policy.Override{policy.AddVolume("project:/work", "-v")}
	if _, _, err := policy.Load(opts); err == nil {
		t.Error("a volume without a slash was taken for a path")
	}
	opts.Overrides = []policy.Override{policy.AddVolume("./project:/work:cow", "-v")}
	if p, _, err := policy.Load(opts); err != nil || p.Filesystem.Mounts[0].Source != testDir {
		t.Errorf("with a volume: %+v, %v", p, err)
	}
	opts.Overrides = []policy.Override{policy.AddVolume("/:/work:ro", "-v")}
	want = `-v: source "/" is the whole file system, which is not given to a job; give a directory inside it, or set filesystem.allow_home = true if that is what you want`
	if _, _, err := policy.Load(opts); message(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	opts.Overrides = []policy.Override{{Key: "filesystem.allow_home", Value: "true", Origin: "--allow-home"}}
	if _, _, err := policy.Load(opts); err != nil {
		t.Errorf("with allow_home: %v", err)
	}
}

// TestNoWorkingDirectory: a library may load a policy that needs none.
func TestNoWorkingDirectory(t *testing.T) {
	if _, _, err := policy.Load(policy.LoadOptions{Name: "strict", Shipped: configs.FS}); err != nil {
		t.Error(err)
	}
	_, _, err := policy.Load(policy.LoadOptions{Name: "default", Shipped: configs.FS})
	if want := `shipped default.toml:32: filesystem.mount[0]: "." is relative, and the caller's working directory is not known`; message(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, _, err = policy.Load(policy.LoadOptions{Name: "strict", Shipped: configs.FS, Dir: "project"})
	if want := `the working directory "project" is not an absolute path`; message(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
