//go:build machines

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/e2e/vm/wire"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

const (
	// emulated is how many times longer a script may take where there is no KVM,
	// and busy while other tests run on the same processors.
	emulated, busy = "8", "16"
	// suiteTime bounds one run of the suite in a machine, in seconds.
	suiteTime = 1500
	// aloneVariable names a file that comes to be when nothing else runs here any
	// more. What measures in machines waits for it.
	aloneVariable = "BRIG_TEST_ALONE"
)

// outside are the tests of the suite that look at the source, or bring a kernel
// of their own. They have no business in a machine.
var outside = strings.Join([]string{
	"TestLayout", "TestFileLengths", "TestPackages", "TestExportedNamesAreDocumented", "TestNamespacesChangeInInitOnly",
	"TestResolveIsPure", "TestNothingRunsAtLoad", "TestNothingUnfinished", "TestImport.*", "TestBrigLinksNothingHeavy",
	"TestReadmeLibraryExample", "TestReadmeNames", "TestExamplesAreRead", "TestShown", "TestRulesBite", "TestOldKernel", "TestLessons",
}, "|")

// TestMachines runs the suite in each system, as an ordinary user and as root,
// both in login sessions, and then what needs the machine changed. It takes
// minutes, and the rights of its caller do not matter to it: it is behind a
// build tag, so that it does not run wherever all tests run.
func TestMachines(t *testing.T) {
	needMachines(t)
	dir := t.TempDir()
	begin := time.Now()
	disk, err := payload(t.Context(), filepath.Join("..", ".."), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("what is carried in was built in %v", since(begin))
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel() // one is a processor's load
			testSystem(t, s, disk)
		})
	}
}

// needMachines skips where machines cannot be had.
func needMachines(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		sandboxtest.Lacks(t, "vm", fmt.Errorf("the machines are amd64, this is %s", runtime.GOARCH))
	}
	for _, tool := range []struct{ program, pkg string }{
		{qemu, "qemu-system-x86"}, {"mmdebstrap", "mmdebstrap"}, {"mkfs.ext4", "e2fsprogs"}, {"apt-get", "apt"},
	} {
		if _, err := lookPath(tool.program); err != nil {
			sandboxtest.Lacks(t, "vm", fmt.Errorf("%w (Debian: %s)", err, tool.pkg))
		}
	}
}

func testSystem(t *testing.T, s system, disk string) {
	begin := time.Now()
	image, err := s.image(t.Context())
	if err != nil {
		sandboxtest.Lacks(t, "vm", err)
	}
	t.Logf("the image was there after %v: %s", since(begin), image)
	begin = time.Now()
	p, why := accelerator(t.Context(), image)
	if why != "" {
		t.Logf("without KVM: %s (found out in %v)", why, since(begin))
	}
	begin = time.Now()
	// What the machine says can be read there while it runs, and afterwards.
	logs := filepath.Join(filepath.Dir(image), "log")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := start(t.Context(), image, disk, filepath.Join(logs, s.name+"-console"), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	t.Logf("Linux %s, both sessions after %v; alice is in %s", m.user.Kernel, since(begin), m.user.Cgroup)
	g := &guest{machine: m, slow: why != "", shared: why != "" && testing.Short(), logs: logs}

	t.Run("sessions", g.testSessions)
	inBoth := func(t *testing.T, test func(t *testing.T, s *session)) {
		t.Run("user", func(t *testing.T) { test(t, m.user) })
		t.Run("root", func(t *testing.T) { test(t, m.root) })
	}
	// What waits much is first, while there is other work for the processor.
	t.Run("groups", func(t *testing.T) { inBoth(t, g.groups) })
	t.Run("variants", g.testVariants)
	t.Run("limits", func(t *testing.T) {
		defer g.delegateAll(t)()
		inBoth(t, func(t *testing.T, s *session) { g.scripts(t, s, "limits") })
	})
	for _, name := range s.more {
		t.Run(name, func(t *testing.T) { g.scripts(t, m.user, name) })
	}
	if !g.shared || s.role == "user" {
		t.Run("user", func(t *testing.T) { g.suite(t, m.user) })
	}
	if !g.shared || s.role == "root" {
		t.Run("root", func(t *testing.T) { g.suite(t, m.root) })
	}
	t.Run("measured", func(t *testing.T) {
		g.delegateAll(t) // to the end of the machine, which is near
		alone(t)
		defer g.processors(t)()
		inBoth(t, func(t *testing.T, s *session) { g.scripts(t, s, "measured") })
	})
	t.Run("left", g.testNothingLeft)
	t.Logf("QEMU used %v of CPU time", m.cpuTime())
	t.Run("panic", g.testPanic)
}

// guest is a machine under test.
type guest struct {
	*machine
	slow   bool
	shared bool   // one role has one part of the suite, in one machine
	logs   string // the directory for what tests print while they run
}

// isAlone tells whether nothing else runs here, as far as somebody is to say so.
func isAlone() bool {
	name := os.Getenv(aloneVariable)
	if name == "" {
		return true
	}
	_, err := os.Stat(name)
	return err == nil
}

// alone waits until nothing else runs here.
func alone(t *testing.T) {
	t.Helper()
	begin := time.Now()
	for !isAlone() {
		if time.Since(begin) > suiteTime*time.Second {
			t.Fatalf("%s did not come to be", os.Getenv(aloneVariable))
		}
		time.Sleep(time.Second / 4)
	}
	t.Logf("waited %v to be alone", since(begin))
}

// must runs a shell command in a session and fails the test unless it
// succeeds. It returns the output.
func (g *guest) must(t *testing.T, s *session, script string) string {
	t.Helper()
	var out bytes.Buffer
	code, err := s.run(&out, wire.Command{Argv: []string{"sh", "-ec", script}})
	if err != nil || code != 0 {
		t.Fatalf("%s: exit code %d, %v: %s", script, code, err, out.Bytes())
	}
	return strings.TrimSpace(out.String())
}

// testSessions shows that the two logins are what a person at a terminal has.
func (g *guest) testSessions(t *testing.T) {
	for _, c := range []struct {
		session *session
		uid     int
	}{{g.user, 1000}, {g.root, 0}} {
		if c.session.UID != c.uid {
			t.Errorf("uid %d, want %d", c.session.UID, c.uid)
		}
		want := fmt.Sprintf("0::/user.slice/user-%d.slice/session-", c.uid)
		if !strings.HasPrefix(c.session.Cgroup, want) {
			t.Errorf("the session is in %s, want %s…", c.session.Cgroup, want)
		}
	}
	if got := g.must(t, g.user, "systemctl --user is-system-running || true"); got != "running" {
		t.Errorf("alice's systemd is %s, want running", got)
	}
	controllers := g.must(t, g.user, "cat /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers")
	if controllers != "cpu memory pids" {
		t.Errorf("alice's systemd has %q, want systemd's default", controllers)
	}
}

// scripts runs the scripts below testdata/machine that name names, one after the
// other: they measure.
func (g *guest) scripts(t *testing.T, s *session, name string, wrap ...string) {
	t.Helper()
	g.test(t, s, "e2e", []string{"BRIG_TEST_MACHINE=" + name}, wrap, "-test.run", "^TestMachine$", "-test.parallel=1")
}

// groups runs the tests of control groups below the command line: the drivers'
// own, and the pausing and stopping of jobs by way of the library.
func (g *guest) groups(t *testing.T, s *session) {
	t.Helper()
	g.test(t, s, "sandbox/cgroup", nil, nil)
	g.test(t, s, "sandbox", nil, nil, "-test.run", "^(TestPause|TestStopRacer|TestStats)$")
	if s == g.user {
		// A tree of one's own to divide, which root has anyway.
		t.Run("service", func(t *testing.T) {
			g.test(t, s, "sandbox/cgroup", nil, []string{
				"systemd-run", "--user", "--quiet", "--pipe", "--wait", "--collect", "-p", "Delegate=yes", "--working-directory=/opt/brig/src/sandbox/cgroup", "--",
			}, "-test.run", "^(TestGroup|TestSweep|TestRefused|TestDelegate)$")
		})
	}
}

// test runs the compiled tests of a package in a session and makes each of them
// one of this test's. What was skipped there is listed with what is skipped here. wrap
// is a program with arguments that runs the suite in its way.
func (g *guest) test(t *testing.T, s *session, pkg string, env, wrap []string, args ...string) {
	t.Helper()
	tests := "/opt/brig/src/" + pkg
	env = append(env, "BRIG_BIN=/opt/brig/bin/brig", "BRIG_TEST_PAYLOADS=/opt/brig/payloads",
		"TMPDIR=/var/tmp", // on the disk, where io can be limited
		"BRIG_TEST_REQUIRE=userns,seccomp,overlay,python3")
	if g.slow {
		factor := emulated
		if !isAlone() {
			factor = busy
		}
		env = append(env, "BRIG_TEST_SLOW="+factor)
	}
	name := strings.ReplaceAll(strings.TrimPrefix(t.Name(), "TestMachines/")+"/"+pkg, "/", "-")
	skips := "/tmp/brig-test-skips-" + name
	env = append(env, sandboxtest.SkipsVariable+"="+skips)
	argv := append(append([]string{}, wrap...), "env")
	argv = append(argv, env...)
	argv = append(argv, path.Join(tests, path.Base(pkg)+".test"), "-test.v=test2json", "-test.parallel=1",
		fmt.Sprintf("-test.timeout=%ds", suiteTime-10))
	begin := time.Now()
	log, err := os.OpenFile(filepath.Join(g.logs, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var out bytes.Buffer
	used := g.cpuTime()
	code, err := s.run(io.MultiWriter(&out, log), wire.Command{Argv: append(argv, args...), Dir: tests, Seconds: suiteTime})
	t.Logf("took %v, %v of QEMU's CPU time", since(begin), g.cpuTime()-used)
	results := readReport(out.Bytes())
	g.report(t, results)
	if err != nil {
		t.Errorf("%v\n%s", err, g.tail())
	}
	if len(results) == 0 || code != 0 && !t.Failed() {
		t.Errorf("exit code %d with %d tests; it said: …%s", code, len(results), lastPart(out.Bytes()))
	}
	g.recordSkips(t, s, skips)
}

// report makes subtests of what was tested in the machine. A test with subtests
// of its own speaks only when it failed.
func (g *guest) report(t *testing.T, results []*result) {
	for _, r := range results {
		t.Run(path.Join(strings.Split(r.name, "/")...), func(t *testing.T) {
			switch r.status {
			case "PASS":
			case "SKIP":
				t.Log("skipped there:", r.output.String())
			case "FAIL":
				t.Error(r.output.String())
			default:
				t.Errorf("did not end:\n%s", r.output.String())
			}
		})
	}
}

// recordSkips adds what was skipped in the machine to the list of this run.
func (g *guest) recordSkips(t *testing.T, s *session, file string) {
	var out bytes.Buffer
	if _, err := s.run(&out, wire.Command{Argv: []string{"cat", file}}); err != nil {
		t.Errorf("the list of skips: %v", err)
	}
	for line := range strings.Lines(out.String()) {
		if f := strings.SplitN(strings.TrimSpace(line), "\t", 4); len(f) == 4 {
			sandboxtest.RecordSkip(t.Name()+"/"+f[1], f[2], errors.New(f[3]))
		}
	}
}

// testNothingLeft looks for what all those tests may have left in the machine.
func (g *guest) testNothingLeft(t *testing.T) {
	// What a manager keeps of a brig that was killed goes with the next run.
	for _, s := range []*session{g.user, g.root} {
		g.must(t, s, "/opt/brig/bin/brig run --policy strict --memory 64MiB -- true")
	}
	// A manager may remove a scope after brig has ended.
	if got := g.must(t, g.root, `for _ in 1 2 3 4 5 6 7 8 9 10; do
			left=$(
				pgrep -a brig
				find /sys/fs/cgroup -type d -name 'brig*' ! -name brig.slice
				find /tmp /var/tmp /dev/shm /run/user /home -name '*brig-*' ! -name 'brig-test-skips*'
			) || true
			[ -n "$left" ] || break
			sleep 0.5
		done
		echo "$left"`); got != "" {
		t.Errorf("left in the machine:\n%s", got)
	}
}

// testPanic shows that the end of a machine in the middle of a test is seen and
// told. There is no machine after it.
func (g *guest) testPanic(t *testing.T) {
	_, err := g.root.run(io.Discard, wire.Command{Argv: []string{"sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger"}})
	if err == nil || !strings.Contains(err.Error(), "the machine has ended") {
		t.Errorf("a machine whose kernel panics gives %v", err)
	}
	if console := g.tail(); !strings.Contains(console, "Kernel panic") {
		t.Errorf("no panic on the console: %s", console)
	}
	if _, err := g.user.run(io.Discard, wire.Command{Argv: []string{"true"}}); err == nil {
		t.Error("a machine that has ended runs a command")
	}
}

func since(begin time.Time) time.Duration { return time.Since(begin).Round(100 * time.Millisecond) }

// lastPart is the end of what a program said.
func lastPart(out []byte) []byte { return out[max(0, len(out)-2000):] }

// lookPath finds a program also where only root's PATH leads.
func lookPath(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
				return found, nil
			}
		}
	}
	return path, err
}
