package sandbox

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// oldHost is this host as it would be with a kernel before 6.6: no user.*
// attributes on a tmpfs.
func oldHost(t *testing.T, spec *Spec) *probe.Host {
	t.Helper()
	host, err := probe.Quick(spec.Question())
	if err != nil {
		t.Fatal(err)
	}
	host.TmpfsXattr = probe.Fact{Cause: "the kernel is older than 6.6"}
	return host
}

// cowSpec is a job on a copy-on-write view of a new directory with a file and
// a directory in it, with its caches in a directory of the test's own.
func cowSpec(t *testing.T, script string) (*Spec, string) {
	t.Helper()
	sandboxtest.Need(t, "userns", "overlay", "unprivileged")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "sub", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", "file"), []byte("host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, _, err := policy.Load(policy.LoadOptions{
		Shipped: configs.FS, Files: os.DirFS("/"), Name: "default", Dir: dir,
		Overrides: []policy.Override{{Key: "limits.scratch", Value: "8m", Origin: "test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	spec := NewSpec(p, "sh", "-c", script)
	spec.Dir, spec.Filter = dir, configs.Filter
	return spec, dir
}

func runOn(t *testing.T, spec *Spec, host *probe.Host) (*Result, string) {
	t.Helper()
	var out bytes.Buffer
	spec.Stdout, spec.Stderr = &out, &out
	a, err := start(t.Context(), spec, host, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.sup.run(t.Context())
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a.result, out.String()
}

func uppersLeft(t *testing.T) []string {
	t.Helper()
	root, err := probe.UppersRoot()
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(root + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestUpperDirectory(t *testing.T) {
	spec, dir := cowSpec(t, "rm -r sub && mkdir sub && ls -A sub && echo new > sub/file && mkdir -m 0 shut && cat sub/file")
	r, out := runOn(t, spec, oldHost(t, spec))
	if r.Outcome != OutcomeOK || out != "new\n" {
		t.Errorf("outcome %s, output %q", r.Outcome, out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "sub", "file")); err != nil || string(b) != "host\n" {
		t.Errorf("the host's file is %q, %v", b, err)
	}
	if left := uppersLeft(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, rc := range r.Receipt {
		if rc.Limit == "scratch" && (rc.Mechanism != "tmpfs+poll" || rc.EnforcedBy != BySupervisor || len(rc.Holes) == 0) {
			t.Errorf("receipt %+v", rc)
		}
	}
}

// The directory is the caller's, whose id an isolated job has not: its upper is
// made there, written, and removed all the same.
func TestUpperDirectoryIsolated(t *testing.T) {
	sandboxtest.Need(t, "subid")
	spec, dir := cowSpec(t, "mkdir -m 700 /own && echo x >/own/file && cat /own/file && stat -c %u /own /")
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + link); err == nil {
			if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := spec.Policy
	p.Filesystem.Root, p.Filesystem.Workdir = "dir:"+dir, "/"
	p.Filesystem.Mounts = []policy.Mount{{Type: policy.Bind, Source: "/usr", Target: "/usr", Access: policy.ReadOnly}}
	p.User.Map, p.User.UID, p.User.GID = policy.MapIsolated, 0, 0
	r, out := runOn(t, spec, oldHost(t, spec))
	if r.Outcome != OutcomeOK || out != "x\n0\n0\n" {
		t.Errorf("outcome %s, output %q", r.Outcome, out)
	}
	if left := uppersLeft(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestUpperDirectoryLimit(t *testing.T) {
	spec, _ := cowSpec(t, "dd if=/dev/zero of=big bs=1M count=64 2>/dev/null; sleep 20")
	r, _ := runOn(t, spec, oldHost(t, spec))
	if r.Outcome != OutcomeFileLimit || !strings.HasPrefix(r.Message, "scratch limit of 8MiB exceeded: the supervisor measured ") {
		t.Errorf("outcome %s: %s", r.Outcome, r.Message)
	}
	if left := uppersLeft(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestUpperDirectoryKilled kills a brig that uses an upper directory: the
// janitor removes it all the same.
func TestUpperDirectoryKilled(t *testing.T) {
	if os.Getenv("BRIG_TEST_UPPER_CHILD") != "" {
		spec, _ := cowSpec(t, "mkdir -m 0 shut; echo x > f; sleep 60")
		t.Setenv("XDG_CACHE_HOME", os.Getenv("BRIG_TEST_UPPER_CHILD"))
		a, err := start(t.Context(), spec, oldHost(t, spec), nil)
		if err != nil {
			t.Fatal(err)
		}
		a.sup.run(t.Context())
		return
	}
	cowSpec(t, "true")
	cmd := exec.Command(os.Args[0], "-test.run=^TestUpperDirectoryKilled$")
	cmd.Env = append(os.Environ(), "BRIG_TEST_UPPER_CHILD="+os.Getenv("XDG_CACHE_HOME"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait(t, "the job to write", func() bool {
		made, _ := filepath.Glob(os.Getenv("XDG_CACHE_HOME") + "/brig/uppers/*/d/upper1/f")
		return len(made) == 1
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	wait(t, "the janitor", func() bool {
		left, _ := filepath.Glob(os.Getenv("XDG_CACHE_HOME") + "/brig/uppers/*")
		return len(left) == 0
	})
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited in vain for " + what)
}

// TestUpperDirectorySwept leaves a directory behind as a killed janitor would.
func TestUpperDirectorySwept(t *testing.T) {
	spec, _ := cowSpec(t, "true")
	root, err := probe.UppersRoot()
	if err != nil {
		t.Fatal(err)
	}
	stale, old, used := root+"/single-STALE", root+"/auto-STALE", root+"/single-USED"
	for _, d := range []string{stale + "/upper1", old + "/upper1", used + "/upper1"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockFile(used+".lock", os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	// The locks of brigs that have not made their directories: one was killed, the
	// other is about to.
	orphan, young := root+"/isolated-ORPHAN.lock", root+"/single-YOUNG.lock"
	if err := os.WriteFile(orphan, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := lockFile(young, os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	runOn(t, spec, oldHost(t, spec))
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale directory of a policy with map auto is still there: %v", err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale directory is still there: %v", err)
	}
	if _, err := os.Stat(used); err != nil {
		t.Errorf("the directory in use is gone: %v", err)
	}
	if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock without a directory is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the lock of a directory to come is gone: %v", err)
	}
}

// TestLockFile: who has locked a file knows that nobody else can lock its name.
func TestLockFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.lock")
	if _, err := lockFile(name, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("of no file: %v, want ENOENT", err)
	}
	first, err := lockFile(name, os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(name, os.O_CREATE); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("of a locked file: %v, want EWOULDBLOCK", err)
	}
	// What was removed and made anew between opening and locking is another's.
	if err := isNamed(first, name); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(name), os.WriteFile(name, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := isNamed(first, name); !errors.Is(err, unix.ENOENT) {
		t.Errorf("of a file that has lost its name: %v, want ENOENT", err)
	}
	first.Close()
	// Two of each: makers that insist on the lock, and sweeps that remove it.
	var wg sync.WaitGroup
	var owners atomic.Int32
	for range 2 {
		wg.Go(func() {
			for range 2000 {
				if f, err := lockFile(name, os.O_CREATE); err == nil {
					if n := owners.Add(1); n != 1 {
						t.Errorf("%d have the lock", n)
					}
					owners.Add(-1)
					f.Close()
				}
			}
		})
		wg.Go(func() {
			for range 2000 {
				sweepLock(strings.TrimSuffix(name, ".lock"))
			}
		})
	}
	wg.Wait()
}

// TestLaunchNamesOp pins that a failed step of a real launch says which.
func TestLaunchNamesOp(t *testing.T) {
	spec, dir := cowSpec(t, "true")
	host := oldHost(t, spec)
	f := host.Files[dir]
	f.Inode++
	host.Files[dir] = f
	a, err := start(t.Context(), spec, host, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.sup.run(t.Context())
	var step *launch.StepError
	if !errors.As(a.err, &step) || step.Errno != unix.ESTALE {
		t.Fatalf("got %v", a.err)
	}
	want := dir + " was exchanged for something else while the sandbox was being set up"
	if a.result.Message != want || a.result.Outcome != OutcomeError || a.err.Error() != want+"\n  fix: run it again, and find out who changes it" {
		t.Errorf("got %s: %s", a.result.Outcome, a.result.Message)
	}
}

// TestPlannedUpper pins where a plan that runs nothing puts the upper directory.
func TestPlannedUpper(t *testing.T) {
	for _, tc := range []struct {
		host probe.Host
		want string
	}{
		{probe.Host{Upper: "/given", UID: 1000, HomeDir: "/home/a"}, "/given"},
		{probe.Host{UID: 1000, HomeDir: "/home/a"}, "/home/a/.cache/brig/uppers/NEW"},
		{probe.Host{HomeDir: "/root"}, "/var/lib/brig/uppers/NEW"},
	} {
		if got, err := plannedUpper(&tc.host); got != tc.want || err != nil {
			t.Errorf("plannedUpper(%+v) = %q, %v, want %q", tc.host, got, err, tc.want)
		}
	}
	var e *Error
	if _, err := plannedUpper(&probe.Host{UID: 1000}); !errors.As(err, &e) || e.Code != CodeHost || e.Fix != "set XDG_CACHE_HOME to a directory of your own" {
		t.Errorf("without a home: %v", err)
	}
}

// TestPlanOnOldHost resolves, as --plan and doctor do, before any directory is
// made.
func TestPlanOnOldHost(t *testing.T) {
	spec, _ := cowSpec(t, "true")
	host, err := probe.Quick(spec.Question())
	if err != nil {
		t.Fatal(err)
	}
	host.TmpfsXattr, host.Upper = probe.Fact{Cause: "the kernel is older than 6.6"}, ""
	res, err := Resolve(spec, host)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(res.Plan.String(), ".cache/brig/uppers/NEW") {
		t.Errorf("the plan names no upper directory:\n%s", res.Plan)
	}
}
