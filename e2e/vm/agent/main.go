// Command agent runs in a virtual machine as the program of a login session,
// in place of a shell, and does what the host asks for over a virtio-serial
// port. What it runs belongs to the session, as if somebody had typed it.
//
//	agent /dev/virtio-ports/brig.alice
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/e2e/vm/wire"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "agent: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: agent PORT")
	}
	// Caught and not ignored, since what is ignored stays so in what it runs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGTTOU)
	port, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	out := &writer{to: json.NewEncoder(port)}
	hello, err := greet()
	if err != nil {
		return err
	}
	out.send(hello)
	in := json.NewDecoder(port)
	for {
		var c wire.Command
		if err := in.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.run(c); err != nil {
			return err
		}
	}
}

func greet() (wire.Hello, error) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return wire.Hello{}, err
	}
	cgroup, err := os.ReadFile("/proc/self/cgroup")
	return wire.Hello{
		UID:    os.Getuid(),
		Kernel: unix.ByteSliceToString(uname.Release[:]),
		Cgroup: strings.TrimSpace(string(cgroup)),
	}, err
}

// writer sends events; a command's output is one while it comes.
type writer struct {
	mu  sync.Mutex
	to  *json.Encoder
	err error
}

func (w *writer) send(what any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.to.Encode(what); w.err == nil {
		w.err = err
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.send(wire.Event{Output: bytes.Clone(p)})
	return len(p), nil
}

// run runs one command to its end and reports it.
func (w *writer) run(c wire.Command) error {
	event := wire.Event{Exit: new(int)}
	if err := w.execute(c); err != nil {
		*event.Exit = -1
		event.Failed = err.Error()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			event.Failed = ""
			*event.Exit = exit.ExitCode()
			if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
				*event.Exit = 128 + int(status.Signal())
			}
		}
	}
	w.send(event)
	return w.err
}

func (w *writer) execute(c wire.Command) error {
	if len(c.Argv) == 0 {
		return errors.New("no program")
	}
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = os.Getenv("HOME")
	}
	cmd.Stdout, cmd.Stderr = w, w
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	late := make(chan struct{})
	timer := time.AfterFunc(time.Duration(c.Seconds)*time.Second, func() {
		close(late)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) // a Go program tells where it was
		time.Sleep(3 * time.Second)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
	err := cmd.Wait()
	if !timer.Stop() {
		<-late
		return fmt.Errorf("took longer than %d s and was killed", c.Seconds)
	}
	return err
}
