package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// recordedHost reads one of the hosts that plans are tested on.
func recordedHost(t *testing.T, name string) *probe.Host {
	t.Helper()
	text, err := os.ReadFile("../../sandbox/testdata/hosts/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	h, err := probe.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestDoctorMechanisms(t *testing.T) {
	for host, want := range map[string]map[string]state{
		"full":        {},
		"no-subuid":   {"mapping of several ids": weaker},
		"no-cgroup":   {"cgroup namespace": weaker},
		"debian-12":   {"overlay upper on tmpfs": weaker},
		"kernel-5.14": {"overlay upper on tmpfs": weaker, "Landlock": weaker},
		"inside-docker": {
			"user namespace": missing, "procfs of the sandbox's own": missing, "mapping of several ids": weaker,
			"network namespace": unknown, "cgroup namespace": unknown, "recursive read-only mounts": unknown,
			"devpts of the sandbox's own": unknown, "overlay": unknown, "overlay upper on tmpfs": unknown,
			"seccomp filter": unknown, "Landlock": unknown,
		},
	} {
		d := &diagnosis{host: recordedHost(t, host)}
		got := map[string]state{}
		rows := d.mechanismRows()
		for _, r := range rows {
			if r.state != works {
				got[r.name] = r.state
			}
			if (r.state == weaker || r.state == missing) && (r.detail == "" || r.cause == "" || r.fix == "") {
				t.Errorf("%s: %s is %s without a detail, cause or fix", host, r.name, r.state)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", host, diff)
		}
		if len(rows) != len(probe.FactNames()) {
			t.Errorf("%s: %d rows for %d facts", host, len(rows), len(probe.FactNames()))
		}
	}
}

func TestDoctorInstalledInit(t *testing.T) {
	h := recordedHost(t, "full")
	h.MemfdExec = probe.Fact{Tried: true, Cause: "forbidden", Fix: "allow it"}
	rows := (&diagnosis{host: h}).mechanismRows()
	want := row{name: "init from memory", state: weaker, detail: "an installed copy of init is executed", cause: "forbidden", fix: "allow it"}
	if diff := cmp.Diff(want, rows[0], cmp.AllowUnexported(row{})); diff != "" {
		t.Error(diff)
	}
}

func TestDoctorLimits(t *testing.T) {
	d := &diagnosis{host: recordedHost(t, "full"), limits: []sandbox.LimitPlan{
		{Limit: "pids", Asked: "4", Mechanism: "RLIMIT_NPROC", EnforcedBy: sandbox.ByKernel},
		{Limit: "memory", Asked: "1", Mechanism: "poll", EnforcedBy: sandbox.BySupervisor, Holes: []string{"a hole"}},
		{Limit: "cpus", Asked: "unlimited", Mechanism: "none", EnforcedBy: sandbox.ByNobody},
		{Limit: "cpuset", Asked: "1", Mechanism: "none", EnforcedBy: sandbox.ByNobody},
	}, limitsProblem: errors.New("and then this")}
	want := []row{
		{name: "pids", state: works, detail: "RLIMIT_NPROC"},
		{name: "memory", state: weaker, detail: "supervised: poll", verbose: []string{"a hole"}},
		{name: "cpuset", state: missing, detail: "nothing holds it"},
		{name: "limits", state: unknown, cause: "and then this"},
	}
	if diff := cmp.Diff(want, d.limitRows(), cmp.AllowUnexported(row{})); diff != "" {
		t.Error(diff)
	}
}

// TestDoctorPrint: columns, several lines, and nothing from outside that a
// terminal would obey.
func TestDoctorPrint(t *testing.T) {
	h := recordedHost(t, "full")
	h.User = "ali\x1b[31mce"
	h.Kernel.Release = "6.12\u202e"
	h.Overlay = probe.Fact{Tried: true, Cause: "bad\x07", Fix: "first\nsecond \x1b]0;x\n"}
	d := &diagnosis{host: h, policies: []policyVerdict{
		{"default", &sandbox.Error{Message: "no\rway", Fix: "mend"}}, {"judge", nil},
	}, defaultRuns: errors.New("no")}
	var out bytes.Buffer
	if err := d.print(&out, false); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && (r < ' ' || r == 0x7f || r == 0x202e) }); i >= 0 {
		t.Errorf("a control character at %d: %q", i, out.String()[i:min(i+20, out.Len())])
	}
	for _, want := range []string{
		"Linux 6.12\\u202e on amd64, ali\\x1b[31mce (uid 1000)\n\nMECHANISMS\n",
		"  overlay                      weaker   no copy-on-write: directories can be given ro, rw or as a copy\n" +
			"      cause: bad\\a\n      fix: first\n           second \\x1b]0;x\n",
		"POLICIES\n  default                      refused\n      cause: no\\rway\n      fix: mend\n" +
			"  judge                        works\n\nThe default policy does NOT run on this host.\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestDoctorColour(t *testing.T) {
	sandboxtest.Need(t, "tty")
	main, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer main.Close()
	defer tty.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !wantsColour(tty) || wantsColour(&bytes.Buffer{}) {
		t.Error("colours belong on a terminal, and nowhere else")
	}
	p := doctorPrinter{colour: true}
	if got := p.paint(missing); got != "\x1b[31mmissing\x1b[0m" {
		t.Errorf("got %q", got)
	}
	t.Setenv("NO_COLOR", "1")
	if wantsColour(tty) {
		t.Error("colours in spite of NO_COLOR")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if wantsColour(tty) {
		t.Error("colours on a terminal that has none")
	}
}

// doctorVariable makes the test binary the command, with these arguments.
const doctorVariable = "BRIG_TEST_DOCTOR"

// TestDoctorProcess is no test but the command, when a test starts it.
func TestDoctorProcess(*testing.T) {
	args, ok := os.LookupEnv(doctorVariable)
	if !ok {
		return
	}
	os.Exit(execute(strings.Fields(args)))
}

// doctor runs the command in a process of its own and returns its output and
// exit code.
func doctor(t *testing.T, args string, change func(*exec.Cmd)) (string, int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestDoctorProcess$")
	cmd.Env = append(os.Environ(), doctorVariable+"="+args, "XDG_CACHE_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestDoctorHere(t *testing.T) {
	sandboxtest.Need(t, "userns", "overlay", "tmpfs-xattr", "seccomp")
	sandboxtest.Leaks(t)
	out, code := doctor(t, "doctor --verbose", nil)
	if code != 0 || !strings.HasSuffix(out, "\nThe default policy runs on this host.\n") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	out, code = doctor(t, "doctor --json", nil)
	h, err := probe.Decode([]byte(out))
	if err != nil || code != 0 {
		t.Fatalf("%v, exit code %d:\n%s", err, code, out)
	}
	if !h.UserNS.OK || !h.UserNS.Tried || h.Files["/usr"].Type != probe.Dir || h.Cgroups == nil {
		t.Errorf("not a whole host: %s", out)
	}
}

// TestDoctorUnfit runs it where no user namespace can be had.
func TestDoctorUnfit(t *testing.T) {
	sandboxtest.Need(t, "userns")
	without := func(cmd *exec.Cmd) {
		cmd.Args = []string{"sh", "-ec", "mount -t proc none /proc\necho 0 > /proc/sys/user/max_user_namespaces\nexec setpriv --inh-caps=-all --ambient-caps=-all " + cmd.Path + " " + cmd.Args[1]}
		cmd.Path = "/bin/sh"
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}},
			AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE, unix.CAP_DAC_OVERRIDE, unix.CAP_SETPCAP},
			Pdeathsig:   syscall.SIGKILL,
		}
	}
	out, code := doctor(t, "doctor", without)
	if code != exitUnfit {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		"  user namespace               missing  no job can run without it\n" +
			"      cause: user namespaces are switched off by the sysctl user.max_user_namespaces=0\n      fix: echo user.max_user_namespaces=15000",
		"\nThe default policy does NOT run on this host.\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, code = doctor(t, "doctor --json", without)
	var h struct {
		User probe.Fact `json:"user_namespace"`
	}
	if err := json.Unmarshal([]byte(out), &h); err != nil || code != exitUnfit || h.User.OK || h.User.Cause == "" {
		t.Errorf("%v, exit code %d, %+v", err, code, h)
	}
}

func TestDoctorUsage(t *testing.T) {
	if _, code := doctor(t, "doctor now", nil); code != exitFailure {
		t.Errorf("an argument too many: exit code %d", code)
	}
}
