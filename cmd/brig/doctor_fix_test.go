package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
	"github.com/brig-sandbox/brig/userns"
)

var update = flag.Bool("update", false, "write testdata/fix/*.sh anew")

// lacking is a host on which a user lacks everything that a script can give.
func lacking(user string) (*probe.Host, fixFacts) {
	no := probe.Fact{Tried: true, Cause: "it is off", Fix: "switch it on"}
	h := &probe.Host{
		Kernel: probe.Kernel{Release: "6.8.0-31-generic"}, UID: 1000, User: user, UserNS: no, IDMaps: no, Landlock: no,
		NetNS: probe.Fact{OK: true}, CgroupNS: probe.Fact{OK: true}, Proc: probe.Fact{OK: true}, Devpts: probe.Fact{OK: true},
		Overlay: probe.Fact{OK: true}, TmpfsXattr: probe.Fact{OK: true}, MountAttr: probe.Fact{OK: true}, Seccomp: probe.Fact{OK: true}, MemfdExec: probe.Fact{OK: true},
		Cgroups: &probe.Cgroups{
			Layout: "v2", Own: "/", Dir: "/sys/fs/cgroup", Existing: []string{"cpuset", "cpu", "io", "memory", "pids"},
			Session: probe.Session{Systemd: true, RuntimeDir: "/run/user/1000", Silent: probe.NoRuntimeDir},
		},
	}
	return h, fixFacts{
		userns: userns.Facts{MaxUserNamespaces: 0, UnprivilegedClone: 0, AppArmorRestrict: 1, Label: "unconfined", Executable: "/opt/a dir/b'rig"},
		grant:  userns.Grant{Range: userns.Range{Start: 165536, Count: 65536}, UID: true, GID: true},
		tool:   &userns.Problem{Reason: userns.ToolMissing, Cause: "newuidmap is not installed"},
	}
}

// fixCases are hosts with what the script for each is called.
func fixCases() map[string]func() (*probe.Host, fixFacts) {
	well := func() (*probe.Host, fixFacts) {
		h, _ := lacking("alice")
		for _, name := range probe.FactNames() {
			*h.Fact(name) = probe.Fact{OK: true, Tried: true}
		}
		h.Cgroups.Manager, h.Cgroups.Session.Silent, h.Scope = "user", "", probe.Fact{OK: true, Tried: true}
		h.Cgroups.ManagerControllers = probe.UsefulControllers()
		f := fixFacts{userns: userns.Facts{MaxUserNamespaces: 9, UnprivilegedClone: 1, AppArmorRestrict: 0}}
		return h, f
	}
	return map[string]func() (*probe.Host, fixFacts){
		"everything": func() (*probe.Host, fixFacts) { return lacking("alice") },
		"nothing":    well,
		"delegation": func() (*probe.Host, fixFacts) {
			h, f := well()
			h.Cgroups.ManagerControllers = []string{"cpu", "memory", "pids"}
			return h, f
		},
		"login": func() (*probe.Host, fixFacts) {
			h, f := well()
			h.Cgroups.ManagerControllers = []string{"cpu", "memory", "pids"}
			f.dropIn = true
			return h, f
		},
		"session": func() (*probe.Host, fixFacts) {
			h, f := well()
			h.Cgroups.Manager, h.Cgroups.ManagerControllers, h.Cgroups.Session.Silent = "", nil, probe.NoRuntimeDir
			f.dropIn = true
			return h, f
		},
		"kernel": func() (*probe.Host, fixFacts) {
			h, f := well()
			h.Cgroups.Layout, h.Cgroups.Controllers, h.Cgroups.ManagerControllers = "hybrid", nil, nil
			h.Overlay = probe.Fact{Cause: "no\x1b[31m overlay\n$(reboot)", Fix: "first\nsecond"}
			f.grantProblem = errors.New("/etc/subuid:3: nonsense")
			return h, f
		},
		"root": func() (*probe.Host, fixFacts) {
			h, f := lacking("root")
			h.UID, f.grant, f.tool = 0, userns.Grant{}, nil
			return h, f
		},
	}
}

// TestFixScript compares the scripts with those that were read by a person.
func TestFixScript(t *testing.T) {
	for name, host := range fixCases() {
		file := filepath.Join("testdata", "fix", name+".sh")
		got := writeFixScript(host())
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// hostileNames are users whom a shell would misunderstand.
var hostileNames = []string{
	"-rf", "a'b", `a"b`, "$(id>pwned)", "`id>pwned`", "a;id>pwned", "a'$(id>pwned)'", "END", "%s", `\`, "*", "~", "#", "!!",
	"", "a\x1b[2Jb", "a\nb", "ü", "a b", "a:b", "a,b", "$(touch pwned)",
}

// byNumber are those of them who can stand in no file of names.
func byNumber(user string) bool {
	return user == "" || strings.ContainsAny(user, "\x1b\nü :,")
}

func TestFixScriptShellcheck(t *testing.T) {
	sandboxtest.Need(t, "shellcheck")
	check := func(name, script string, flags ...string) {
		cmd := exec.Command("shellcheck", append(flags, "--shell=sh", "--severity=style", "-")...)
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s\n%s", name, err, out, script)
		}
	}
	for name, host := range fixCases() {
		check(name, writeFixScript(host()))
	}
	for _, user := range hostileNames {
		h, f := lacking(user)
		f.userns.Executable = "/opt/" + strings.ReplaceAll(user, "\n", "") + "/brig"
		// It remarks that a quoted name looks like code, which is why it is quoted.
		check(user, writeFixScript(h, f), "--exclude=SC2016,SC1003")
	}
}

// TestFixScriptRuns runs the script on a host that is a directory: /etc lies in
// it, and what would change the system writes down how it was called.
func TestFixScriptRuns(t *testing.T) {
	for _, user := range hostileNames {
		dir := t.TempDir()
		etc := dir + "/etc"
		for _, d := range []string{"sysctl.d", "apparmor.d", "systemd/system"} {
			if err := os.MkdirAll(etc+"/"+d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(dir+"/bin", 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"usermod", "sysctl", "apparmor_parser", "systemctl", "loginctl", "apt-get", "id"} {
			stub := "#!/bin/sh\n{ printf '%s' " + name + "; printf ' <%s>' \"$@\"; echo; } >>" + dir + "/calls\n"
			if name == "id" {
				stub = "#!/bin/sh\necho 0\n"
			}
			if err := os.WriteFile(dir+"/bin/"+name, []byte(stub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		h, facts := lacking(user)
		script := strings.ReplaceAll(writeFixScript(h, facts), "/etc/", etc+"/")
		for range 2 { // twice does no harm
			cmd := exec.Command("/bin/sh", "-s")
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + dir + "/bin:/usr/bin:/bin"}
			cmd.Stdin = strings.NewReader(script)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%q: %v\n%s\n%s", user, err, out, script)
			}
		}
		if _, err := os.Lstat(dir + "/pwned"); err == nil {
			t.Fatalf("%q was executed", user)
		}
		read := func(name string) string {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Errorf("%q: %v", user, err)
			}
			return string(text)
		}
		if got := read(etc + "/systemd/system/user@.service.d/delegate.conf"); strings.ReplaceAll(got, etc+"/", "/etc/") != configs.DelegateDropIn {
			t.Errorf("%q: the drop-in is\n%s", user, got)
		}
		if got, want := read(etc+"/sysctl.d/90-brig.conf"), "user.max_user_namespaces = 15000\nkernel.unprivileged_userns_clone = 1\n"; got != want {
			t.Errorf("%q: sysctls %q", user, got)
		}
		if got, want := read(etc+"/apparmor.d/brig"), userns.AppArmorProfileText("/opt/a dir/b'rig"); got != want {
			t.Errorf("%q: profile %q", user, got)
		}
		calls := read(dir + "/calls")
		if byNumber(user) {
			if got, want := read(etc+"/subuid")+read(etc+"/subgid"), "1000:165536:65536\n1000:165536:65536\n"; got != want {
				t.Errorf("%q: entries %q", user, got)
			}
			if !strings.Contains(calls, "loginctl <enable-linger> <--> <1000>\n") {
				t.Errorf("%q: calls\n%s", user, calls)
			}
		} else {
			for _, want := range []string{
				"usermod <--add-subuids> <165536-231071> <--> <" + user + ">\n", "usermod <--add-subgids> <165536-231071> <--> <" + user + ">\n",
				"loginctl <enable-linger> <--> <" + user + ">\n", "systemctl <daemon-reload>\n", "apt-get <install> <-y> <uidmap>\n",
				"apparmor_parser <-r> <" + etc + "/apparmor.d/brig>\n", "sysctl <-p> <" + etc + "/sysctl.d/90-brig.conf>\n",
			} {
				if !strings.Contains(calls, want) {
					t.Errorf("%q: no %q in\n%s", user, want, calls)
				}
			}
		}
	}
}

// TestDropInText: what the errors tell of the drop-in is what it says.
func TestDropInText(t *testing.T) {
	if !strings.Contains(configs.DelegateDropIn, "\n[Service]\nDelegate="+probe.Delegate+"\n") || !strings.HasPrefix(configs.DelegateDropIn, "# "+probe.DelegateDropIn+"\n") {
		t.Errorf("configs/systemd/delegate.conf:\n%s", configs.DelegateDropIn)
	}
	text, err := os.ReadFile("../../configs/apparmor/brig")
	if err != nil || !strings.HasSuffix(string(text), userns.AppArmorProfileText("/usr/local/bin/brig")) {
		t.Errorf("configs/apparmor/brig is not as brig writes it: %v", err)
	}
}
