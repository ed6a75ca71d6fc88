package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/brig-sandbox/brig/e2e/vm/wire"
)

const (
	qemu = "qemu-system-x86_64"
	// memory of a machine in MiB. QEMU takes from the host what the guest
	// touches, which is less.
	memory = 2048
	// bootTime bounds the way from QEMU's start to both sessions.
	bootTime = 10 * time.Minute
)

// machine is a running virtual machine with two sessions in it.
type machine struct {
	root, user *session
	console    string // the file with what the kernel and systemd have said
	ended      chan struct{}
	err        error // how QEMU ended; valid once ended is closed
	process    *os.Process
}

// session is a login in a machine. It does one command at a time.
type session struct {
	wire.Hello
	mu      sync.Mutex
	machine *machine
	port    *os.File
	in      *json.Decoder
}

// arguments are QEMU's, up to what differs between a test and a shell.
func arguments(image, payload string, p processor, mode string) []string {
	args := append([]string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-m", fmt.Sprint(memory), "-smp", "2",
		"-kernel", filepath.Join(image, "kernel"), "-initrd", filepath.Join(image, "initrd"),
		// A panic ends QEMU.
		"-append", "root=/dev/vda rootfstype=ext4 rootflags=noatime rw console=ttyS0 panic=-1 quiet loglevel=4 " +
			"systemd.show_status=no brig.vm=" + mode + " " + p.kernel,
		"-device", "virtio-rng-pci",
		// The image is shared and never changes: what the machine writes is
		// thrown away with it.
		"-drive", "if=none,id=root,format=raw,snapshot=on,cache=unsafe,file=" + filepath.Join(image, "disk"),
		"-device", "virtio-blk-pci,drive=root,serial=root",
		"-drive", "if=none,id=payload,format=raw,readonly=on,file=" + payload,
		"-device", "virtio-blk-pci,drive=payload,serial=payload",
		"-device", "virtio-serial-pci",
	}, p.qemu...)
	return args
}

// start boots a machine and waits for both of its sessions. console is the file
// for what its kernel says. The machine ends with the context, and with this process.
func start(ctx context.Context, image, payload, console string, p processor) (*machine, error) {
	m := &machine{console: console, ended: make(chan struct{})}
	args := append(arguments(image, payload, p, "test"),
		"-chardev", "file,id=console,path="+m.console, "-serial", "chardev:console",
		// Nobody sits at the terminals of the two logins.
		"-chardev", "null,id=tty0", "-device", "virtconsole,chardev=tty0",
		"-chardev", "null,id=tty1", "-device", "virtconsole,chardev=tty1")
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	for i, s := range []**session{&m.user, &m.root} {
		name := []string{"alice", "root"}[i]
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		port := os.NewFile(uintptr(fds[0]), "port of "+name)
		theirs = append(theirs, os.NewFile(uintptr(fds[1]), "QEMU's end"))
		*s = &session{machine: m, port: port, in: json.NewDecoder(port)}
		args = append(args, "-chardev", fmt.Sprintf("socket,id=%s,fd=%d", name, 3+i),
			"-device", fmt.Sprintf("virtserialport,chardev=%s,name=brig.%s", name, name))
	}
	said := &strings.Builder{}
	cmd := exec.CommandContext(ctx, qemu, args...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.ExtraFiles = theirs
	// The tables in which an emulator looks up what it has translated are many
	// megabytes, and their pages are best large.
	cmd.Env = append(os.Environ(), "GLIBC_TUNABLES=glibc.malloc.hugetlb=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun := make(chan error)
	go func() {
		// The signal comes when the thread ends that has made the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err != nil {
			return
		}
		how := "by itself"
		if err := cmd.Wait(); err != nil {
			how = err.Error()
		}
		m.err = fmt.Errorf("the machine has ended (%s): %s", how, strings.TrimSpace(said.String()))
		close(m.ended)
		m.user.port.Close()
		m.root.port.Close()
	}()
	if err := <-begun; err != nil {
		return nil, err
	}
	m.process = cmd.Process
	for _, s := range []*session{m.root, m.user} {
		if err := s.meet(); err != nil {
			m.kill()
			return nil, fmt.Errorf("no session: %w\n%s", err, m.tail())
		}
	}
	return m, nil
}

// meet waits for the agent's first word.
func (s *session) meet() error {
	if err := s.port.SetReadDeadline(time.Now().Add(bootTime)); err != nil {
		return err
	}
	if err := s.in.Decode(&s.Hello); err != nil {
		return s.machine.why(err)
	}
	return s.port.SetReadDeadline(time.Time{})
}

// why explains a port that failed by the machine's end, where that is the cause.
func (m *machine) why(err error) error {
	select {
	case <-m.ended:
		return m.err
	case <-time.After(time.Second):
		return err
	}
}

// kill ends the machine at once. Nothing of it is left when it returns.
func (m *machine) kill() {
	_ = m.process.Kill() // it may have ended by itself
	<-m.ended
}

// tail is the end of what the console has said.
func (m *machine) tail() string {
	data, err := os.ReadFile(m.console)
	if err != nil {
		return err.Error()
	}
	return "console: …" + string(data[max(0, len(data)-4096):])
}

// run runs a command in the session and writes its output while it comes. The
// error is about the machine, the agent or the program's start, or says that
// the command took too long; the command's own failure is its exit code.
func (s *session) run(out io.Writer, c wire.Command) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Seconds == 0 {
		c.Seconds = 60
	}
	line, err := json.Marshal(c)
	if err != nil {
		return -1, err
	}
	if _, err := s.port.Write(line); err != nil {
		return -1, s.machine.why(err)
	}
	// The agent ends what takes too long. One that says nothing has hung.
	limit := time.Now().Add(time.Duration(c.Seconds)*time.Second + 30*time.Second)
	if err := s.port.SetReadDeadline(limit); err != nil {
		return -1, err
	}
	for {
		var e wire.Event
		if err := s.in.Decode(&e); err != nil {
			return -1, fmt.Errorf("the machine hangs or has ended: %w", s.machine.why(err))
		}
		if _, err := out.Write(e.Output); err != nil {
			return -1, err
		}
		switch {
		case e.Failed != "":
			return *e.Exit, errors.New(e.Failed)
		case e.Exit != nil:
			return *e.Exit, nil
		}
	}
}

// cpuTime is what QEMU has used so far: with emulation, most of a test's time.
func (m *machine) cpuTime() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
