package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// job runs a shell command on a stdio's ends, as the launch would, and returns
// once it has ended.
type job struct {
	*stdio
	cmd   *exec.Cmd
	overs atomic.Int64
	over  Overrun
}

func startJob(t *testing.T, in io.Reader, out, errs io.Writer, limit Amount, script string) *job {
	t.Helper()
	j := &job{}
	s, err := openStdio(in, out, errs, limit, func(o Overrun) { j.over = o; j.overs.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	j.stdio = s
	j.cmd = exec.Command("/bin/sh", "-c", script)
	files := [3]*os.File{}
	for i, fd := range s.jobEnds {
		if fd < 0 {
			continue
		}
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = os.NewFile(uintptr(d), "job")
		defer files[i].Close()
	}
	if files[0] != nil {
		j.cmd.Stdin = files[0]
	}
	if files[1] != nil {
		j.cmd.Stdout = files[1]
	}
	if files[2] != nil {
		j.cmd.Stderr = files[2]
	}
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.closeJobEnds()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return j
}

// wait ends the job within a bound and returns finish's error.
func (j *job) wait(t *testing.T, patience time.Duration) error {
	t.Helper()
	kill := time.AfterFunc(20*time.Second, func() { _ = j.cmd.Process.Kill() })
	_ = j.cmd.Wait()
	if !kill.Stop() {
		t.Fatal("the job did not end by itself")
	}
	return j.finish(patience)
}

func openFDs(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// pipeSink gives a pipe as an output and what was read from it.
func pipeSink(t *testing.T) (*os.File, func() []byte) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 1)
	go func() { b, _ := io.ReadAll(r); _ = r.Close(); got <- b }()
	return w, func() []byte { _ = w.Close(); return <-got }
}

func fileSink(t *testing.T, flag int) (*os.File, func() []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "out")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f, func() []byte {
		_ = f.Close()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func socketSink(t *testing.T) (*os.File, func() []byte) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, r := os.NewFile(uintptr(p[0]), "w"), os.NewFile(uintptr(p[1]), "r")
	got := make(chan []byte, 1)
	go func() { b, _ := io.ReadAll(r); _ = r.Close(); got <- b }()
	return w, func() []byte { _ = w.Close(); return <-got }
}

// sinks are all the ways in which output can be delivered.
func sinks() map[string]func(*testing.T) (io.Writer, func() []byte) {
	file := func(f func(*testing.T) (*os.File, func() []byte)) func(*testing.T) (io.Writer, func() []byte) {
		return func(t *testing.T) (io.Writer, func() []byte) { w, g := f(t); return w, g }
	}
	return map[string]func(*testing.T) (io.Writer, func() []byte){
		"pipe":   file(pipeSink),
		"file":   file(func(t *testing.T) (*os.File, func() []byte) { return fileSink(t, 0) }),
		"append": file(func(t *testing.T) (*os.File, func() []byte) { return fileSink(t, os.O_APPEND) }),
		"socket": file(socketSink),
		"writer": func(*testing.T) (io.Writer, func() []byte) {
			b := &bytes.Buffer{}
			return b, b.Bytes
		},
	}
}

func TestOutputArrivesWhole(t *testing.T) {
	want := []byte(strings.Repeat("0123456789abcdef", 40000)) // 640,000 bytes: ten pipes full
	for name, sink := range sinks() {
		t.Run(name, func(t *testing.T) {
			before := openFDs(t)
			w, got := sink(t)
			in := filepath.Join(t.TempDir(), "in")
			if err := os.WriteFile(in, want, 0o600); err != nil {
				t.Fatal(err)
			}
			j := startJob(t, nil, w, nil, Unknown, "cat "+in)
			if err := j.wait(t, -1); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got(), want) {
				t.Error("the output differs from what the job wrote")
			}
			if j.outputBytes() != int64(len(want)) || j.overs.Load() != 0 {
				t.Errorf("counted %d bytes and %d overruns, want %d and 0", j.outputBytes(), j.overs.Load(), len(want))
			}
			time.Sleep(10 * time.Millisecond) // the reader's own descriptor
			if after := openFDs(t); after != before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
		})
	}
}

func TestOutputCap(t *testing.T) {
	for name, sink := range sinks() {
		for _, c := range []struct {
			limit Amount
			write int
			over  bool
		}{{100000, 99999, false}, {100000, 100000, false}, {100000, 100001, true}, {100000, 4000000, true}, {0, 0, false}, {0, 1, true}, {1, 2, true}} {
			t.Run(fmt.Sprintf("%s/%d of %d", name, c.write, c.limit), func(t *testing.T) {
				w, got := sink(t)
				j := startJob(t, nil, w, nil, c.limit, fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", c.write))
				if err := j.wait(t, -1); err != nil {
					t.Fatal(err)
				}
				want := min(c.write, int(c.limit))
				b := got()
				if len(b) != want || strings.Trim(string(b), "x") != "" {
					t.Errorf("delivered %d bytes, want exactly %d", len(b), want)
				}
				if j.outputBytes() != int64(want) {
					t.Errorf("counted %d bytes, want %d", j.outputBytes(), want)
				}
				if calls := j.overs.Load(); (calls == 1) != c.over || calls > 1 {
					t.Errorf("overrun was called %d times, want over=%v", calls, c.over)
				}
				if c.over && (j.over.Limit != int64(c.limit) || j.over.Seen <= j.over.Limit || !j.over.Over) {
					t.Errorf("evidence %+v for a limit of %d", j.over, c.limit)
				}
			})
		}
	}
}

func TestOutputCapIsSharedByBothOutputs(t *testing.T) {
	out, gotOut := pipeSink(t)
	errs, gotErr := fileSink(t, 0)
	j := startJob(t, nil, out, errs, 1000, "head -c 600 /dev/zero; sleep 0.1; head -c 600 /dev/zero >&2; sleep 0.1; echo more")
	if err := j.wait(t, -1); err != nil {
		t.Fatal(err)
	}
	if a, b := len(gotOut()), len(gotErr()); a != 600 || b != 400 {
		t.Errorf("delivered %d + %d bytes, want 600 + 400", a, b)
	}
	if j.overs.Load() != 1 {
		t.Errorf("overrun was called %d times, want once", j.overs.Load())
	}
}

func TestOrderIsKeptWhereBothOutputsAreOneFile(t *testing.T) {
	f, got := fileSink(t, 0)
	second, err := os.OpenFile(f.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	j := startJob(t, nil, f, second, Unknown, "for i in 1 2 3 4; do echo o$i; echo e$i >&2; done")
	if err := j.wait(t, -1); err != nil {
		t.Fatal(err)
	}
	if want := "o1\ne1\no2\ne2\no3\ne3\no4\ne4\n"; string(got()) != want {
		t.Error("the order was lost")
	}
}

func TestReaderThatGoesAwayBecomesSIGPIPE(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	j := startJob(t, nil, w, nil, Unknown, "exec cat /dev/zero")
	_, _ = io.ReadFull(r, make([]byte, 100))
	_ = r.Close()
	if err := j.wait(t, -1); err != nil {
		t.Fatalf("a reader that goes away is no error: %v", err)
	}
	if got := j.cmd.ProcessState.String(); got != "signal: broken pipe" {
		t.Errorf("the job ended with %q, want a broken pipe", got)
	}
}

func TestFullDiskIsReported(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		sandboxtest.Lacks(t, "dev-full", err)
	}
	defer full.Close()
	j := startJob(t, nil, full, nil, Unknown, "exec cat /dev/zero")
	err = j.wait(t, -1)
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v, want ENOSPC", err)
	}
}

func TestStuckReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	flags, _ := unix.FcntlInt(w.Fd(), unix.F_GETFL, 0)
	j := startJob(t, nil, w, nil, Unknown, "head -c 100000 /dev/zero")
	start := time.Now()
	if err := j.wait(t, 200*time.Millisecond); !errors.Is(err, errOutputStuck) {
		t.Errorf("error %v, want errOutputStuck", err)
	}
	if d := time.Since(start); d < 200*time.Millisecond || d > 3*time.Second {
		t.Errorf("gave up after %v, want a little more than 200ms", d)
	}
	if now, _ := unix.FcntlInt(w.Fd(), unix.F_GETFL, 0); now != flags {
		t.Errorf("flags of the caller's descriptor were %#x and are %#x", flags, now)
	}
	_ = r.Close()
}

func TestSlowReaderLosesNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	j := startJob(t, nil, w, nil, Unknown, "head -c 100000 /dev/zero")
	n := make(chan int64, 1)
	go func() {
		time.Sleep(300 * time.Millisecond)
		got, _ := io.Copy(io.Discard, r)
		n <- got
	}()
	if err := j.wait(t, -1); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if got := <-n; got != 100000 {
		t.Errorf("%d bytes arrived, want 100000", got)
	}
	_ = r.Close()
}

// stuckWriter blocks for good in Write, as a caller's own type may.
type stuckWriter struct{ release chan struct{} }

func (w stuckWriter) Write(b []byte) (int, error) { <-w.release; return len(b), nil }

func TestStuckWriterIsLeftBehind(t *testing.T) {
	w := stuckWriter{make(chan struct{})}
	j := startJob(t, nil, w, nil, Unknown, "echo x")
	if err := j.wait(t, 50*time.Millisecond); !errors.Is(err, errOutputStuck) {
		t.Errorf("error %v, want errOutputStuck", err)
	}
	close(w.release)
	<-j.done
}

func TestSurvivorThatHoldsThePipeIsNotWaitedFor(t *testing.T) {
	w, got := pipeSink(t)
	j := startJob(t, nil, w, nil, Unknown, "echo kept; sleep 3 & exit 0")
	start := time.Now()
	if err := j.wait(t, -1); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("waited %v for a process that holds the pipe", d)
	}
	if b := got(); string(b) != "kept\n" {
		t.Errorf("delivered %q, want %q", b, "kept\n")
	}
}
