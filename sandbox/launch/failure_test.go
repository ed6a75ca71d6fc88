package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// inode is what a path is now, as plans say it.
func inode(t *testing.T, path string) (device, number uint64) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev, st.Ino
}

// An op that fails is reported with its place in the plan and the error number,
// and nothing is left of the sandbox.
func TestFailingOps(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	dev, ino := inode(t, "/usr")
	tests := []struct {
		name  string
		kind  plan.Kind
		errno unix.Errno
		spoil func(*plan.Plan, *plan.Op)
	}{
		{"source missing", plan.Open, unix.ENOENT, func(_ *plan.Plan, o *plan.Op) { o.Source = "/no/such" }},
		{"source exchanged", plan.Open, unix.ESTALE, func(_ *plan.Plan, o *plan.Op) { o.Device, o.Inode = dev, ino+1 }},
		{"source on another device", plan.Open, unix.ESTALE, func(_ *plan.Plan, o *plan.Op) { o.Device, o.Inode = dev+1, ino }},
		{"source on a device of another kind", plan.Open, unix.ESTALE, func(_ *plan.Plan, o *plan.Op) { o.Device, o.Inode = dev^1<<8, ino }},
		{"not the device", plan.Open, unix.ENODEV, func(p *plan.Plan, o *plan.Op) { o.CharDevice = 1<<8 | 3; o.Source = "/dev/zero" }},
		{"not a device", plan.Open, unix.ENODEV, func(p *plan.Plan, o *plan.Op) { o.CharDevice = 1<<8 | 3 }},
		{"scratch of no size", plan.Scratch, unix.EINVAL, func(_ *plan.Plan, o *plan.Op) { o.Mode = 0o7777; o.Size = 1<<63 - 1; o.Inodes = 1<<63 - 1 }},
		{"no parent directory", plan.Mkdir, unix.ENOENT, func(_ *plan.Plan, o *plan.Op) { o.Target = "/a/b" }},
		{"link over what is there", plan.Symlink, unix.EEXIST, func(_ *plan.Plan, o *plan.Op) { o.Target = "/usr" }},
		{"file over what is there", plan.File, unix.EEXIST, func(_ *plan.Plan, o *plan.Op) { o.Target = "/bin" }},
		{"target missing", plan.Bind, unix.ENOENT, func(_ *plan.Plan, o *plan.Op) { o.Target = "/missing" }},
		{"target through a link", plan.Bind, unix.ELOOP, func(_ *plan.Plan, o *plan.Op) { o.Target = "/bin"; o.Flags = plan.NoFollow }},
		{"directory on a file", plan.Bind, unix.EINVAL, func(_ *plan.Plan, o *plan.Op) { o.Target = "/dev/null" }},
		{"proc on a file", plan.Proc, unix.EINVAL, func(_ *plan.Plan, o *plan.Op) { o.Target = "/dev/null" }},
		{"host name", plan.Hostname, unix.EINVAL, func(_ *plan.Plan, o *plan.Op) { o.Data = strings.Repeat("x", 65) }},
		{"OOM score", plan.OOMScore, unix.EINVAL, func(_ *plan.Plan, o *plan.Op) { o.Data = "1001" }},
		{"init's ids", plan.InitIDs, unix.EINVAL, func(_ *plan.Plan, o *plan.Op) { o.UID = 7 }},
		{"the job's ids", plan.JobIDs, unix.EINVAL, func(_ *plan.Plan, o *plan.Op) { o.GID = 7 }},
		{"rlimit beyond the kernel's", plan.Rlimit, unix.EPERM, func(_ *plan.Plan, o *plan.Op) { o.Data, o.Size, o.Inodes = "nofile", 1<<40, 1<<40 }},
		{"soft above hard", plan.Rlimit, unix.EINVAL, func(_ *plan.Plan, o *plan.Op) { o.Size, o.Inodes = 2, 1 }},
		{"no working directory", plan.Chdir, unix.ENOENT, func(_ *plan.Plan, o *plan.Op) { o.Target = "/missing" }},
		{"working directory is a file", plan.Chdir, unix.ENOTDIR, func(_ *plan.Plan, o *plan.Op) { o.Target = "/dev/null" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := small("true")
			i := slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == tt.kind })
			tt.spoil(p, &p.Ops[i])
			_, _, err := start(t, p)
			var step *StepError
			if !errors.As(err, &step) || step.Index != i || step.Errno != tt.errno || step.Op.Kind != tt.kind {
				t.Fatalf("got %v, want op %d (%s) with %v", err, i+1, tt.kind, tt.errno)
			}
			if want := fmt.Sprintf("op %d of the plan, %s: %s", i+1, p.Ops[i].String(), tt.errno.Error()); step.Error() != want {
				t.Errorf("says %q, want %q", step.Error(), want)
			}
			if !errors.Is(err, tt.errno) {
				t.Error("does not wrap the errno")
			}
		})
	}
}

// The job's process may fail before init has let it go on: its failure is what
// is reported then, whoever comes first.
func TestJobFailsBeforeInit(t *testing.T) {
	sandboxtest.Need(t, "userns")
	for range 50 {
		p := small("true")
		p.Ops = slices.Insert(p.Ops, slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Rlimit }),
			plan.Op{Kind: plan.Rlimit, Data: "nofile", Size: 1 << 40, Inodes: 1 << 40})
		ready := p.Find(plan.Ready)
		ready.Names = slices.Repeat(ready.Names[:1], maxDescriptors) // init takes its time
		_, _, err := start(t, p)
		var step *StepError
		if !errors.As(err, &step) || step.Op.Kind != plan.Rlimit || step.Errno != unix.EPERM {
			t.Fatalf("got %v", err)
		}
	}
}

// Lesson: a working directory through a leaked descriptor (CVE-2024-21626). By
// the time the job's process enters its directory it has nothing open that lies
// outside the root.
func TestWorkingDirectoryOutside(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	for fd := range 24 {
		p := small("pwd")
		p.Ops = slices.Insert(p.Ops, slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Scratch }),
			plan.Op{Kind: plan.Open, Handle: 9, Source: "/usr/share", Flags: plan.InPlace})
		p.Find(plan.Chdir).Target = fmt.Sprintf("/proc/self/fd/%d", fd)
		out, _, err := start(t, p)
		var step *StepError
		if !errors.As(err, &step) || step.Op.Kind != plan.Chdir {
			t.Errorf("descriptor %d led to %q, %v", fd, out, err)
		}
	}
}

func TestFilterThatTheKernelRefuses(t *testing.T) {
	sandboxtest.Need(t, "userns", "seccomp")
	p, _ := filtered("true")
	_, _, err := start(t, p, func(c *Config) { c.Filters = [][]byte{{0, 0, 0, 0, 0, 0, 0, 0}} })
	var step *StepError
	if !errors.As(err, &step) || step.Op.Kind != plan.Seccomp || step.Errno != unix.EINVAL {
		t.Errorf("got %v", err)
	}
}

// Once the filter is loaded the job's process can report only through memory:
// a filter that kills everything still gives a verdict.
func TestFilterThatForbidsTheExec(t *testing.T) {
	sandboxtest.Need(t, "userns", "seccomp")
	p, _ := filtered("true")
	errnoAll := []byte{6, 0, 0, 0, byte(unix.EPERM), 0, 5, 0} // SECCOMP_RET_ERRNO
	_, end, err := start(t, p, func(c *Config) { c.Filters = [][]byte{errnoAll} })
	var step *StepError
	if !errors.As(err, &step) || step.Op.Kind != plan.Exec || step.Errno != unix.EPERM {
		t.Errorf("got %v, status %#x", err, uint32(end.Status))
	}
	killAll := []byte{6, 0, 0, 0, 0, 0, 0, 0x80} // SECCOMP_RET_KILL_PROCESS
	_, end, err = start(t, p, func(c *Config) { c.Filters = [][]byte{killAll} })
	if err != nil || end.Status.Signal() != unix.SIGSYS {
		t.Errorf("got %v, status %#x", err, uint32(end.Status))
	}
}

func TestExecErrors(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	tests := []struct {
		name       string
		candidates []string
		arg        string
		errno      unix.Errno // 0: it runs
	}{
		{"missing", []string{"/usr/bin/no-such-program"}, "", unix.ENOENT},
		{"through a file", []string{"/usr/bin/true/x"}, "", unix.ENOENT},
		{"the second", []string{"/a/true", "/usr/bin/true"}, "", 0},
		{"a directory", []string{"/usr"}, "", unix.EACCES},
		{"not executable", []string{"/plain"}, "", unix.EACCES},
		{"the second may be run", []string{"/plain", "/usr/bin/true"}, "", 0},
		{"none may be run", []string{"/plain", "/usr/bin/no-such-program"}, "", unix.EACCES},
		{"no program", []string{"/text", "/usr/bin/true"}, "", unix.ENOEXEC},
		{"interpreter missing", []string{"/script"}, "", unix.ENOENT},
		{"argument too long", []string{"/usr/bin/true"}, strings.Repeat("x", 128<<10), unix.E2BIG},
		{"argument just fits", []string{"/usr/bin/true"}, strings.Repeat("x", 128<<10-1), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := small("job")
			i := slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.File })
			p.Ops = slices.Insert(p.Ops, i,
				plan.Op{Kind: plan.File, Target: "/plain", Data: "#!/bin/sh\n", Mode: 0o644},
				plan.Op{Kind: plan.File, Target: "/text", Data: "plain text", Mode: 0o755},
				plan.Op{Kind: plan.File, Target: "/script", Data: "#!/no/interpreter\n", Mode: 0o755})
			e := p.Find(plan.Exec)
			e.Names, e.Write = []string{"job", tt.arg}, tt.candidates
			_, end, err := start(t, p)
			if tt.errno == 0 {
				if err != nil || end.Status != 0 {
					t.Errorf("got %v, status %#x", err, uint32(end.Status))
				}
				return
			}
			var step *StepError
			if !errors.As(err, &step) || step.Index != len(p.Ops)-1 || step.Errno != tt.errno {
				t.Errorf("got %v, want %v", err, tt.errno)
			}
		})
	}
}

func TestStartErrors(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cfg := func() *Config {
		p := small("true")
		if p.IDs.By == plan.ByInit {
			p.IDs.By = plan.ByHelper
		}
		return &Config{Plan: p, Stdio: [3]uintptr{null.Fd(), null.Fd(), null.Fd()}}
	}
	if _, err := Start(cfg()); err == nil || err.Error() != "launch: nobody to write the id maps" {
		t.Errorf("without a writer: %v", err)
	}
	c, refused := cfg(), errors.New("refused")
	c.WriteMaps = func(pid int) error {
		if err := unix.Kill(pid, 0); err != nil {
			t.Errorf("there is no process %d: %v", pid, err)
		}
		return refused
	}
	if _, err := Start(c); !errors.Is(err, refused) {
		t.Errorf("a writer that fails: %v", err)
	}
	c = cfg()
	c.Plan.Find(plan.Rlimit).Data = "memory"
	if _, err := Start(c); err == nil || err.Error() != `launch: no rlimit "memory"` {
		t.Errorf("a plan that cannot be lowered: %v", err)
	}
}

// A start that fails leaves no thread, goroutine or descriptor.
func TestFailedStartsLeaveNothing(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	before := runtime.NumGoroutine()
	for range 20 {
		p := small("true")
		_, err := Start(&Config{Plan: p, Stdio: [3]uintptr{1 << 20, 1 << 20, 1 << 20}})
		if !errors.Is(err, unix.EBADF) {
			t.Fatalf("got %v", err)
		}
	}
	settle(t, before)
}

// settle waits until there are no more goroutines than before.
func settle(t *testing.T, before int) {
	t.Helper()
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// In a sandbox no sandbox can be made, and brig says so and leaves nothing.
func TestCloneRefused(t *testing.T) {
	sandboxtest.Need(t, "userns")
	out := inside(t, "clone-refused")
	if want := "cannot make a sandbox's namespaces: no space left on device\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func helpCloneRefused() {
	before := runtime.NumGoroutine()
	fds := func() int { d, _ := os.ReadDir("/proc/self/fd"); return len(d) }
	null, _ := os.OpenFile("/dev/null", os.O_RDWR, 0)
	first := fds()
	var err error
	for range 5 {
		_, err = Start(&Config{Plan: small("true"), Stdio: [3]uintptr{null.Fd(), null.Fd(), null.Fd()}})
	}
	for i := 0; i < 200 && runtime.NumGoroutine() > before; i++ {
		time.Sleep(5 * time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before || fds() != first {
		fmt.Printf("%d goroutines, %d before; %d descriptors, %d before\n", now, before, fds(), first)
	}
	if !errors.Is(err, ErrClone) {
		fmt.Println("not ErrClone:")
	}
	fmt.Println(err)
}
