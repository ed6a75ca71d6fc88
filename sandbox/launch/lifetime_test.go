package launch

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

func TestEnds(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	tests := []struct {
		script string
		want   string
		alone  bool
	}{
		{"exit 0", "exited 0", true},
		{"exit 7", "exited 7", true},
		{"exit 255", "exited 255", true},
		{"kill -SEGV $$", "signal 11", true},
		{"kill -KILL $$", "signal 9", true},
		{"kill -PIPE $$", "signal 13", true},
		{"trap 'exit 3' TERM; kill -TERM $$", "exited 3", true},
		{"sleep 1000 & exit 4", "exited 4", false},
		{"setsid sleep 1000 & sleep 0.05; exit 5", "exited 5", false},
		{"(sleep 1000 & ) ; exit 6", "exited 6", false},
		{"(sleep 0.02 & ) ; sleep 0.1; exit 8", "exited 8", true},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			_, end, err := start(t, small("sh", "-c", tt.script))
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("exited %d", end.Status.ExitStatus())
			if end.Status.Signaled() {
				got = fmt.Sprintf("signal %d", end.Status.Signal())
			}
			if got != tt.want || end.Alone != tt.alone {
				t.Errorf("%s, alone %t; want %s, alone %t", got, end.Alone, tt.want, tt.alone)
			}
		})
	}
}

// The usage is that of the job with all its processes, orphans included.
func TestUsage(t *testing.T) {
	sandboxtest.Need(t, "userns")
	const burn = `i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done`
	_, end, err := start(t, small("sh", "-c", burn))
	if err != nil || end.Job.CPU() < 10*time.Millisecond || end.Sandbox.CPU() < end.Job.CPU() {
		t.Errorf("job %v, sandbox %v, %v", end.Job, end.Sandbox, err)
	}
	_, end, err = start(t, small("sh", "-c", `trap "" CHLD; (sh -c '`+burn+`' &); sleep 1`))
	if err != nil || !end.Alone || end.Sandbox.User < 10*time.Millisecond || end.Job.User > end.Sandbox.User/2 {
		t.Errorf("orphan: job %v, sandbox %v, alone %t, %v", end.Job, end.Sandbox, end.Alone, err)
	}
}

// After Close every process is gone, whatever it was doing.
func TestCloseEndsAll(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := launch(t, small("sh", "-c", `trap "" TERM INT HUP; for i in 1 2 3 4 5; do setsid sh -c 'trap "" TERM HUP; sleep 1000' & done; echo up; wait`), w)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "up\n" {
		t.Errorf("got %q, %v", line, err)
	}
	if _, err := s.Close(); err != nil {
		t.Error(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the pipe is still held: %d, %v", n, err)
	}
	s.Kill() // after Close it does nothing
}

// Kill and Close from several goroutines hit this sandbox and no other.
func TestKillFromAnywhere(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	for range 20 {
		s, err := launch(t, small("sleep", "1000"), nil)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(s.Kill)
		}
		if _, err := await(s); !errors.Is(err, ErrInitGone) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

// After Close the number of its descriptor may be another sandbox's, which a
// late Kill must not hit.
func TestKillAfterClose(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	shared := 0
	for range 10 {
		first, err := launch(t, small("sleep", "1000"), nil)
		if err != nil {
			t.Fatal(err)
		}
		number := first.pidfd
		if _, err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second, err := launch(t, small("sh", "-c", "sleep 0.02; exit 4"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if second.pidfd == number {
			shared++
		}
		first.Kill()
		if end, err := await(second); err != nil || end.Status.ExitStatus() != 4 {
			t.Errorf("another sandbox ended with %+v, %v", end, err)
		}
		if _, err := second.Close(); err != nil {
			t.Error(err)
		}
	}
	if shared == 0 {
		t.Error("no number was used again: this test shows nothing")
	}
}

// A sandbox outlives the goroutine, and the thread, that started it.
func TestStarterMayEnd(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	started := make(chan *Sandbox)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		s, err := launch(t, small("sh", "-c", "sleep 0.1; exit 9"), nil)
		if err != nil {
			t.Error(err)
		}
		started <- s
	}()
	s := <-started
	if s == nil {
		return
	}
	defer s.Close()
	if end, err := await(s); err != nil || end.Status.ExitStatus() != 9 {
		t.Errorf("got %+v, %v", end, err)
	}
}

func TestDiscard(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	before := runtime.NumGoroutine()
	p := small("true")
	for range 10 {
		Clone(p.Namespaces, p.IDs.CloneUID, p.IDs.CloneGID).Discard()
	}
	(*Child)(nil).Discard()
	// A child made for another plan is not used.
	other := Clone(p.Namespaces[:5], p.IDs.CloneUID, p.IDs.CloneGID)
	if _, end, err := start(t, p, func(c *Config) { c.Child = other }); err != nil || end.Status != 0 {
		t.Errorf("got %#x, %v", uint32(end.Status), err)
	}
	own := Clone(p.Namespaces, p.IDs.CloneUID, p.IDs.CloneGID)
	if _, end, err := start(t, p, func(c *Config) { c.Child = own }); err != nil || end.Status != 0 {
		t.Errorf("got %#x, %v", uint32(end.Status), err)
	}
	settle(t, before)
}

// The rest of the program opens and closes files while a child is made: none of
// their numbers gets in the way.
func TestCloneBesideOpenFiles(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				var fds []int
				for range 40 {
					if fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3); err == nil {
						fds = append(fds, fd)
					}
				}
				for _, fd := range fds {
					unix.Close(fd)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	p := small("true")
	for i := range 300 {
		c := Clone(p.Namespaces, p.IDs.CloneUID, p.IDs.CloneGID)
		if <-c.made; c.err != nil {
			t.Errorf("child %d: %v", i, c.err)
		}
		c.Discard()
	}
	close(stop)
	wg.Wait()
}

// helpSleep starts a sandbox whose job does not end, says so, and waits.
func helpSleep() {
	p := small("sh", "-c", `setsid sleep 1000 & exec sleep 1000`)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	s, err := Start(&Config{
		Plan: p, Env: []string{"PATH=/usr/bin"}, Stdio: [3]uintptr{null.Fd(), null.Fd(), null.Fd()},
		WriteMaps: func(pid int) error { return writeMapsDirect(pid, &p.IDs) },
	})
	if err != nil {
		panic(err)
	}
	m, err := s.Receive()
	fmt.Println(len(m.Ready), err)
	_, err = s.Receive()
	fmt.Println("ended", err)
}

// When brig is killed everything ends with it.
func TestParentDeath(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	for range 5 {
		cmd := outside("sleep")
		r, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(r).ReadString('\n')
		if line != "4 <nil>\n" {
			t.Errorf("the helper says %q, %v", line, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	}
}

// The end of the channel alone, without brig's death, ends the sandbox too.
func TestChannelEnd(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	s := begin(t, small("sleep", "1000"), nil)
	if err := unix.Shutdown(s.channel, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	fds := []unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 5000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			t.Errorf("init is still there: %v", err)
		}
		return
	}
}

// What was read back is what the kernel holds.
func TestReadBack(t *testing.T) {
	sandboxtest.Need(t, "userns")
	p := small("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c; grep Cpus_allowed_list /proc/self/status")
	i := slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Rlimit })
	p.Ops = slices.Insert(p.Ops, i, plan.Op{Kind: plan.Rlimit, Data: "nofile", Size: 77, Inodes: 88})
	pivot := slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Pivot })
	p.Ops = slices.Insert(p.Ops, pivot, plan.Op{Kind: plan.Affinity, Data: "0"})
	i++
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := launch(t, p, w)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := await(s); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := bufio.NewReader(r).WriteTo(&b); err != nil || b.String() != "77\n88\n0\nCpus_allowed_list:\t0\n" {
		t.Errorf("the job sees\n%s%v", b.String(), err)
	}
	e := binary.NativeEndian
	if got := s.ReadBack(i); len(got) != 16 || e.Uint64(got) != 77 || e.Uint64(got[8:]) != 88 {
		t.Errorf("nofile is %v", got)
	}
	if got := s.ReadBack(i + 1); len(got) != 16 || e.Uint64(got) != 1 {
		t.Errorf("core is %v", got)
	}
	if got := s.ReadBack(pivot); len(got) != cpuMaskSize || got[0] != 1 || slices.ContainsFunc(got[1:], func(b byte) bool { return b != 0 }) {
		t.Errorf("the mask is %v", got)
	}
	for _, none := range []int{0, i + 2, -1, 1 << 20} {
		if got := s.ReadBack(none); got != nil {
			t.Errorf("op %d has %v to read back", none, got)
		}
	}
}

// More tmpfs than one small message would hold: each descriptor arrives.
func TestManyDescriptors(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	p := small("true")
	ready := p.Find(plan.Ready)
	for i := range 60 {
		dir := fmt.Sprintf("/t%d", i)
		ready.Names = append(ready.Names, ReadyTmpfs+dir)
		at := slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Root })
		p.Ops = slices.Insert(p.Ops, at+1, plan.Op{Kind: plan.Tmpfs, Target: dir, Size: 4096, Inodes: 2, Mode: 0o755})
		p.Ops = slices.Insert(p.Ops, at, plan.Op{Kind: plan.Mkdir, Target: dir, Mode: 0o755})
		ready = p.Find(plan.Ready)
	}
	s, err := launch(t, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m, err := s.Receive()
	if err != nil || len(m.Ready) != 64 {
		t.Fatalf("%d descriptors, %v", len(m.Ready), err)
	}
	for i, f := range m.Ready {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || i >= 4 && st.Type != unix.TMPFS_MAGIC {
			t.Errorf("%d: type %#x, %v", i, st.Type, err)
		}
		f.Close()
	}
}
