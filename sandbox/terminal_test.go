package sandbox

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// caller is a terminal of the caller's: person is where one types and reads.
type caller struct {
	person, tty *os.File
	read        chan byte
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	person, tty, err := pty.Open()
	if err != nil {
		sandboxtest.Lacks(t, "tty", err)
	}
	// In the poller, so that Close ends the Read below.
	fd, err := unix.FcntlInt(person.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	_ = person.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	person = os.NewFile(uintptr(fd), "person")
	c := &caller{person, tty, make(chan byte, 1<<20)}
	t.Cleanup(func() { _ = person.Close(); _ = tty.Close() })
	go func() {
		one := make([]byte, 4096)
		for {
			n, err := person.Read(one)
			for _, b := range one[:n] {
				c.read <- b
			}
			if err != nil {
				close(c.read)
				return
			}
		}
	}()
	return c
}

// expect reads until text has appeared.
func (c *caller) expect(t *testing.T, text string) string {
	t.Helper()
	var got strings.Builder
	late := time.After(5 * time.Second)
	for !strings.Contains(got.String(), text) {
		select {
		case b, ok := <-c.read:
			if !ok {
				t.Fatalf("the terminal closed after %q", got.String())
			}
			got.WriteByte(b)
		case <-late:
			t.Fatalf("waited for %q, got %q", text, got.String())
		}
	}
	return got.String()
}

func (c *caller) mode(t *testing.T) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(c.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// ttyJob runs a command on a terminal of its own.
type ttyJob struct {
	*stdio
	term *terminal
	cmd  *exec.Cmd
	over chan Overrun
	gone chan struct{}
}

func startTTYJob(t *testing.T, c *caller, limit Amount, script string) *ttyJob {
	t.Helper()
	j := &ttyJob{over: make(chan Overrun, 2), gone: make(chan struct{}, 2)}
	term, err := openTerminal(c.tty, c.tty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.restore)
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	own, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	_ = master.Close()
	s, err := term.attach(own, limit, func(o Overrun) { j.over <- o }, func() { j.gone <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	j.stdio, j.term = s, term
	j.cmd = exec.Command("/bin/sh", "-c", script)
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = slave, slave, slave
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.cmd.Process.Kill() })
	return j
}

func TestTerminalRoundTrip(t *testing.T) {
	c := newCaller(t)
	if err := pty.Setsize(c.tty, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	before := c.mode(t)
	j := startTTYJob(t, c, Unknown, `
stty size; trap 'echo interrupted; exit 3' INT; echo on; while :; do sleep 0.05; done`)
	c.expect(t, "33 77\r\n")
	c.expect(t, "on\r\n")
	if raw := c.mode(t); raw.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Errorf("the caller's terminal is not raw: %#x", raw.Lflag)
	}
	_, _ = c.person.Write([]byte{3}) // Ctrl-C
	c.expect(t, "interrupted\r\n")
	_ = j.cmd.Wait()
	if code := j.cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	start := time.Now()
	if err := j.finish(-1); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 200*time.Millisecond {
		t.Errorf("finish took %v", d)
	}
	j.term.restore()
	j.term.restore()
	if after := c.mode(t); after != before {
		t.Errorf("the caller's terminal was %+v and is %+v", before, after)
	}
}

func TestTerminalSizeFollows(t *testing.T) {
	c := newCaller(t)
	j := startTTYJob(t, c, Unknown, `trap 'stty size' WINCH; echo on; while :; do sleep 0.05; done`)
	c.expect(t, "on\r\n")
	if err := pty.Setsize(c.tty, &pty.Winsize{Rows: 12, Cols: 34}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	c.expect(t, "12 34\r\n")
	_ = j.cmd.Process.Kill()
	_ = j.cmd.Wait()
	if err := j.finish(-1); err != nil {
		t.Error(err)
	}
}

func TestTerminalDeliversEverything(t *testing.T) {
	c := newCaller(t)
	before := openFDs(t)
	j := startTTYJob(t, c, Unknown, "head -c 200000 /dev/zero | tr '\\0' x; echo; echo the end")
	got := c.expect(t, "the end\r\n")
	_ = j.cmd.Wait()
	if err := j.finish(-1); err != nil {
		t.Error(err)
	}
	j.term.restore()
	if n := strings.Count(got, "x"); n != 200000 || j.outputBytes() != 200000+2+9 {
		t.Errorf("%d of 200000 bytes arrived, counted %d", n, j.outputBytes())
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestTerminalOutputCap(t *testing.T) {
	for _, over := range []bool{false, true} {
		c := newCaller(t)
		script := "printf 0123456789; sleep 0.2"
		if over {
			script = "printf 0123456789; printf x; sleep 0.2"
		}
		j := startTTYJob(t, c, 10, script)
		if got := c.expect(t, "0123456789"); got != "0123456789" {
			t.Errorf("delivered %q", got)
		}
		_ = j.cmd.Wait()
		if err := j.finish(-1); err != nil {
			t.Error(err)
		}
		if n := len(j.over); (n == 1) != over || j.outputBytes() != 10 {
			t.Errorf("over=%v: %d calls, %d bytes counted", over, n, j.outputBytes())
		}
	}
}

func TestCallersTerminalGoesAway(t *testing.T) {
	c := newCaller(t)
	j := startTTYJob(t, c, Unknown, "echo on; exec sleep 30")
	c.expect(t, "on\r\n")
	_ = c.person.Close()
	select {
	case <-j.gone:
	case <-time.After(5 * time.Second):
		t.Error("not noticed")
	}
	_ = j.cmd.Process.Kill()
	_ = j.cmd.Wait()
	_ = j.finish(100 * time.Millisecond)
	j.term.restore() // must not hang or panic
}

func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, in := range []*os.File{r, nil} {
		if _, err := openTerminal(in, w); !errors.Is(err, errNoTerminal) {
			t.Errorf("error %v, want errNoTerminal", err)
		}
	}
	if !bytes.HasPrefix([]byte(errNoTerminal.Error()), []byte("the input device is not a TTY")) {
		t.Errorf("text %q", errNoTerminal)
	}
}
