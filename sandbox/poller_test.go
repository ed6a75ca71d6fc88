package sandbox

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// nest runs a Python program as process 2 of fresh user, pid, mount and IPC
// namespaces with a procfs of their own; process 1 is a shell that waits.
type nest struct {
	root              string // what its processes call /
	proc, sysv, tmpfs int
	stdin             io.WriteCloser
	line              func() string
}

func startNest(t *testing.T, program string) *nest {
	t.Helper()
	sandboxtest.Need(t, "unshare", "python3")
	if out, err := exec.Command("unshare", "-Urpfmi", "--mount-proc", "true").CombinedOutput(); err != nil {
		sandboxtest.Lacks(t, "userns", fmt.Errorf("%w: %s", err, out))
	}
	const shell = "mount -t tmpfs -o size=128m none /mnt || exit 9; python3 -c \"$1\"; exit $?"
	cmd := exec.Command("unshare", "-Urpfmi", "--mount-proc", "--kill-child", "sh", "-c", shell, "sh", "import os,sys,mmap,time\n"+program)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	n := &nest{stdin: stdin, line: func() string {
		var b []byte
		one := make([]byte, 1)
		for {
			if _, err := stdout.Read(one); err != nil || one[0] == '\n' {
				return string(b)
			}
			b = append(b, one[0])
		}
	}}
	if got := n.line(); got != "ready" {
		t.Fatalf("the program said %q", got)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join("/proc", strings.TrimSpace(string(children)), "root")
	n.root = root
	n.proc = openAt(t, root+"/proc", unix.O_DIRECTORY)
	n.tmpfs = openAt(t, root+"/mnt", unix.O_DIRECTORY)
	n.sysv = -1
	return n
}

func openAt(t *testing.T, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// watch starts a poller on a nest. It is stopped with the test.
func (n *nest) watch(t *testing.T, conf pollerConfig) (*poller, chan [2]Overrun) {
	t.Helper()
	over := make(chan [2]Overrun, 1)
	conf.procFD, conf.sysv, conf.tmpfs = n.proc, n.sysv, []int{n.tmpfs}
	if conf.cpus == 0 {
		conf.cpus = 2
	}
	conf.over = func(m, c Overrun) { over <- [2]Overrun{m, c} }
	p, err := startPoller(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop() })
	return p, over
}

const ready = "print('ready', flush=True); sys.stdin.readline()\n"

func TestPollerSeesMemoryByEveryRoute(t *testing.T) {
	const limit = 64 << 20
	for name, program := range map[string]string{
		"anonymous": "x = bytearray(100 << 20)",
		"shared":    "m = mmap.mmap(-1, 100 << 20)\nfor i in range(0, 100 << 20, 4096): m[i] = 1",
		"tmpfs":     "f = open('/mnt/f', 'wb')\nfor i in range(100): f.write(bytes(1 << 20))",
		"children": "for i in range(4):\n  if os.fork() == 0:\n    x = bytearray(25 << 20); time.sleep(30)\n" +
			"time.sleep(30)",
		"copied after fork": "x = bytearray(40 << 20)\nif os.fork() == 0:\n  for i in range(0, len(x), 4096): x[i] = 1\ntime.sleep(30)",
		"mapped memfd":      "f = os.memfd_create('x'); os.ftruncate(f, 100 << 20); m = mmap.mmap(f, 0)\nfor i in range(0, 100 << 20, 4096): m[i] = 1",
		"half and half":     "f = open('/mnt/f', 'wb'); f.write(bytes(40 << 20)); f.flush(); m = mmap.mmap(-1, 40 << 20)\nfor i in range(0, 40 << 20, 4096): m[i] = 1",
	} {
		t.Run(name, func(t *testing.T) {
			n := startNest(t, ready+program+"\ntime.sleep(30)")
			p, over := n.watch(t, pollerConfig{memoryLimit: limit, pids: Unknown})
			_, _ = io.WriteString(n.stdin, "\n")
			select {
			case o := <-over:
				if !o[0].Over || o[0].Limit != limit || o[0].Seen <= limit || o[1].Over {
					t.Errorf("evidence %+v, looks %+v", o, p.stop())
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("not noticed: %+v", p.stop())
			}
			if s := p.stop(); s.Err != nil || s.MemoryPeak <= limit {
				t.Errorf("%+v, want a peak over the limit and no error", s)
			}
		})
	}
}

// A job must not win time to fill memory by making looks slow: here with many
// mappings in many processes, and pages of a host file that keep the quick sum
// above the limit.
func TestPollerIsNotBlindedByMappings(t *testing.T) {
	const limit = 64 << 20
	n := startNest(t, "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.mmap.restype = ctypes.c_void_p\n"+
		"a = libc.mmap(None, ctypes.c_size_t(15000 * 8192), 3, 0x4021, -1, 0)\n"+
		"for i in range(15000): libc.mprotect(ctypes.c_void_p(a + i * 8192), ctypes.c_size_t(4096), 1)\n"+
		"for i in range(64): ctypes.memset(a + 4096 + i * 8192, 1, 1)\n"+
		"f = os.open(sys.executable, os.O_RDONLY)\nfor i in range(16): libc.mmap(None, ctypes.c_size_t(os.fstat(f).st_size), 1, 0x8002, f, 0)\n"+
		"for i in range(60):\n  if os.fork() == 0: time.sleep(30); os._exit(0)\n"+ready+
		"x = bytearray(100 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\ntime.sleep(30)")
	p, over := n.watch(t, pollerConfig{memoryLimit: limit, pids: Unknown})
	time.Sleep(1500 * time.Millisecond)
	_, _ = io.WriteString(n.stdin, "\n")
	select {
	case o := <-over:
		if !o[0].Over || o[0].Seen <= limit {
			t.Errorf("evidence %+v, looks %+v", o, p.stop())
		}
	case <-time.After(3 * time.Second):
		t.Fatalf("not noticed: %+v", p.stop())
	}
}

// What only looks like much must not be killed.
func TestPollerDoesNotCountTwice(t *testing.T) {
	for name, c := range map[string]struct {
		program   string
		low, high Amount
	}{
		"pages shared by fork": {
			"x = bytearray(40 << 20)\nfor i in range(5):\n  if os.fork() == 0: time.sleep(1); os._exit(0)\ntime.sleep(0.5)", 40 << 20, 62 << 20,
		},
		"a mapped file of the tmpfs": {
			"f = open('/mnt/f', 'w+b'); f.write(bytes(40 << 20)); f.flush(); m = mmap.mmap(f.fileno(), 0)\n" +
				"s = sum(m[i] for i in range(0, 40 << 20, 4096)); time.sleep(0.5)", 40 << 20, 62 << 20,
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := startNest(t, ready+c.program+"\nprint('done', flush=True); sys.stdin.readline()")
			p, over := n.watch(t, pollerConfig{memoryLimit: 64 << 20, pids: Unknown})
			_, _ = io.WriteString(n.stdin, "\n")
			if got := n.line(); got != "done" {
				t.Fatalf("the program said %q", got)
			}
			s := p.stop()
			select {
			case o := <-over:
				t.Errorf("killed with the evidence %+v (%+v)", o, s)
			default:
			}
			if s.Err != nil || s.MemoryPeak < c.low || s.MemoryPeak > c.high {
				t.Errorf("%+v, want a peak between %d and %d", s, c.low, c.high)
			}
		})
	}
}

func TestPollerSeesCPUTimeOfAll(t *testing.T) {
	for name, program := range map[string]string{
		"one":           "while True: pass",
		"threads":       "import threading\nfor i in range(3): threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()",
		"children":      "os.fork(); os.fork()\nwhile True: pass",
		"dead children": "while True:\n  p = os.fork()\n  if p == 0:\n    e = time.process_time() + 0.05\n    while time.process_time() < e: pass\n    os._exit(0)\n  os.waitpid(p, 0)",
	} {
		t.Run(name, func(t *testing.T) {
			n := startNest(t, ready+program)
			p, over := n.watch(t, pollerConfig{memoryLimit: Unknown, cpuLimit: 500 * time.Millisecond, pids: Unknown})
			start := time.Now()
			_, _ = io.WriteString(n.stdin, "\n")
			select {
			case o := <-over:
				d := time.Since(start)
				if !o[1].Over || o[0].Over || o[1].Limit != int64(500*time.Millisecond) || o[1].Seen > int64(900*time.Millisecond) {
					t.Errorf("evidence %+v", o)
				}
				if d < 150*time.Millisecond {
					t.Errorf("noticed after %v, before 500ms could be used", d)
				}
			case <-time.After(8 * time.Second):
				t.Fatalf("not noticed: %+v", p.stop())
			}
		})
	}
}

func TestPollerCountsThreads(t *testing.T) {
	n := startNest(t, "for i in range(6):\n  if os.fork() == 0: time.sleep(30)\n"+
		"import threading\nfor i in range(3): threading.Thread(target=time.sleep, args=(30,)).start()\n"+ready)
	p, _ := n.watch(t, pollerConfig{memoryLimit: Unknown, pids: 10})
	time.Sleep(100 * time.Millisecond)
	// 1 + 6 processes and 3 threads; process 1 is brig's in a real sandbox.
	if s := p.stop(); s.PIDsPeak != 10 || !s.PIDsReached || s.Err != nil {
		t.Errorf("%+v, want a peak of 10, reached", s)
	}
}

func TestPollerLeavesShortJobsAlone(t *testing.T) {
	n := startNest(t, ready)
	p, _ := n.watch(t, pollerConfig{memoryLimit: 1, pids: 1})
	if s := p.stop(); s.Looks != 0 || s.MemoryPeak != Unknown || s.PIDsPeak != Unknown || s.PIDsReached {
		t.Errorf("%+v, want nothing seen", s)
	}
}

func TestPollerSurvivesTheSandboxsEnd(t *testing.T) {
	n := startNest(t, ready)
	p, over := n.watch(t, pollerConfig{memoryLimit: 1 << 40, pids: Unknown})
	_ = n.stdin.Close()
	time.Sleep(200 * time.Millisecond)
	s := p.stop()
	if s.Err != nil || len(over) != 0 {
		t.Errorf("%+v, %d calls", s, len(over))
	}
}

func BenchmarkPollerLook(b *testing.B) {
	for _, all := range []bool{false, true} {
		b.Run("all="+strconv.FormatBool(all), func(b *testing.B) {
			fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = unix.Close(fd) }()
			self := os.Getpid()
			scan, err := newProcScan(fd, func(pid int) bool { return !all && pid != self })
			if err != nil {
				b.Fatal(err)
			}
			defer scan.close()
			p := &poller{scan: scan, memory: memoryWatch{sysv: -1}}
			p.exact = exactMemory{scan: scan}
			b.ReportAllocs()
			for b.Loop() {
				if err := p.look(time.Now()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(p.seen.PIDsPeak), "threads")
		})
	}
}

// TestMemoryIsNeverNegative: processes that are gone leave the excess of a look
// that saw them.
func TestMemoryIsNeverNegative(t *testing.T) {
	for _, tt := range []struct{ quick, excess, want int64 }{{30, 10, 20}, {10, 10, 0}, {10, 30, 0}} {
		w := memoryWatch{quick: tt.quick, excess: tt.excess}
		if got := w.used(); got != tt.want {
			t.Errorf("%d with an excess of %d: %d used, want %d", tt.quick, tt.excess, got, tt.want)
		}
	}
}
