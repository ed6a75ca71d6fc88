package cgroup

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bus is a connection to a service manager: to its own socket, which speaks
// D-Bus without a bus in between, or to a bus on which it listens. It knows one
// method and one signal; see the D-Bus specification and org.freedesktop.systemd1(5).
//
//	\0AUTH EXTERNAL uid, BEGIN ─▶
//	(Hello, AddMatch, Subscribe ─▶    on a bus only)
//	StartTransientUnit ─▶
//	                   ◀─ OK
//	                   ◀─ the job's path, or an error
//	                   ◀─ JobRemoved for that job: "done", or why not
type bus struct {
	mu       sync.Mutex // of closed: another goroutine may interrupt
	closed   bool
	fd       int
	deadline time.Time
	shared   bool
	serial   uint32
	in       []byte // what was read and not yet taken
	authOK   bool
}

const (
	managerName      = "org.freedesktop.systemd1"
	managerPath      = "/org/freedesktop/systemd1"
	managerInterface = "org.freedesktop.systemd1.Manager"
	busName          = "org.freedesktop.DBus"
	busPath          = "/org/freedesktop/DBus"
)

// dial connects and says who the caller is, without waiting for an answer: the
// kernel vouches for the user id.
func dial(socket string, shared bool, deadline time.Time) (*bus, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	b := &bus{fd: fd, deadline: deadline, shared: shared}
	for {
		// A full backlog says EAGAIN, and a Unix socket has nothing to wait on.
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err == nil {
		err = b.notOthers()
	}
	if err == nil {
		err = b.write([]byte("\x00AUTH EXTERNAL " + hex.EncodeToString([]byte(strconv.Itoa(os.Getuid()))) + "\r\nBEGIN\r\n"))
	}
	if err == nil && shared {
		err = b.enter()
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return b, nil
}

// notOthers refuses a socket on which another ordinary user listens: it would
// be told process ids to move, and could lie about what it did.
func (b *bus) notOthers() error {
	peer, err := unix.GetsockoptUcred(b.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return err
	}
	if int(peer.Uid) != os.Getuid() && peer.Uid != 0 && !b.shared {
		return fmt.Errorf("user %d listens there", peer.Uid)
	}
	return nil
}

// enter joins a bus and asks for the manager's signals. The answers are passed
// over, since a failure shows at what is asked next.
func (b *bus) enter() error {
	var body encoder
	body.string("type='signal',sender='" + managerName + "',interface='" + managerInterface + "',member='JobRemoved'")
	for _, c := range []call{
		{path: busPath, to: busName, iface: busName, member: "Hello"},
		{path: busPath, to: busName, iface: busName, member: "AddMatch", signature: "s", body: body.b},
		{path: managerPath, to: managerName, iface: managerInterface, member: "Subscribe"},
	} {
		if _, err := b.send(&c); err != nil {
			return err
		}
	}
	return nil
}

// startTransientUnit starts a unit and waits until its job is done.
func (b *bus) startTransientUnit(unit string, properties []property) error {
	var body encoder
	body.string(unit)
	body.string("fail") // never replaces another unit of that name
	if err := body.properties(properties); err != nil {
		return err
	}
	body.array(8, func() {}) // no auxiliary units
	c := call{path: managerPath, iface: managerInterface, member: "StartTransientUnit", signature: "ssa(sv)a(sa(sv))", body: body.b}
	if b.shared {
		c.to = managerName
	}
	serial, err := b.send(&c)
	if err != nil {
		return err
	}
	job, manager := "", ""
	// The signal may overtake the reply. On a bus it counts only when it comes
	// from whoever sent that, since anybody there can send one.
	type removal struct{ job, from string }
	removed := map[removal]string{}
	for {
		m, err := b.receive()
		if err != nil {
			return err
		}
		switch {
		case m.kind == kindError && m.replyTo == serial:
			return fmt.Errorf("%s: %s", m.errorName, m.firstString())
		case m.kind == kindReturn && m.replyTo == serial:
			if job, err = m.objectPath(); err != nil {
				return err
			}
			manager = m.sender
		case m.kind == kindSignal && m.member == "JobRemoved":
			path, result, err := m.jobRemoved()
			if err != nil {
				return err
			}
			if len(removed) == maxSignals {
				return fmt.Errorf("it sent %d signals and no answer", maxSignals)
			}
			from := ""
			if b.shared {
				from = m.sender
			}
			if job == "" || path == job {
				removed[removal{path, from}] = result
			}
		}
		if !b.shared {
			manager = ""
		}
		if result, ok := removed[removal{job, manager}]; ok && job != "" {
			if result != "done" {
				return fmt.Errorf("the job of the scope %s ended with %q", unit, result)
			}
			return nil
		}
	}
}

// stopUnit asks the manager to stop a unit and waits for its answer, whatever
// that is.
func (b *bus) stopUnit(unit string) error {
	var body encoder
	body.string(unit)
	body.string("replace")
	c := call{path: managerPath, iface: managerInterface, member: "StopUnit", signature: "ss", body: body.b}
	if b.shared {
		c.to = managerName
	}
	serial, err := b.send(&c)
	if err != nil {
		return err
	}
	for range maxSignals {
		m, err := b.receive()
		if err != nil {
			return err
		}
		if m.replyTo == serial && (m.kind == kindReturn || m.kind == kindError) {
			return nil
		}
	}
	return fmt.Errorf("it sent %d signals and no answer", maxSignals)
}

// maxSignals bounds the jobs that are remembered until the reply says which of
// them is meant.
const maxSignals = 4096

func (b *bus) send(c *call) (uint32, error) {
	b.serial++
	return b.serial, b.write(c.encode(b.serial))
}

// receive returns the next message, whatever it is.
func (b *bus) receive() (*message, error) {
	for {
		if !b.authOK {
			line, rest, ok := strings.Cut(string(b.in), "\r\n")
			if ok {
				if !strings.HasPrefix(line, "OK ") {
					return nil, fmt.Errorf("it does not believe who the caller is: %q", clip(line))
				}
				b.authOK, b.in = true, []byte(rest)
			} else if len(b.in) > maxLine {
				return nil, errors.New("it does not speak D-Bus")
			}
		}
		if b.authOK {
			m, size, err := decode(b.in)
			if err != nil {
				return nil, err
			}
			if m != nil {
				b.in = b.in[size:]
				return m, nil
			}
		}
		if err := b.read(); err != nil {
			return nil, err
		}
	}
}

// maxLine bounds a line of the authentication.
const maxLine = 16 << 10

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

func (b *bus) read() error {
	var buf [4096]byte
	for {
		// Also while there is always something to read.
		if !time.Now().Before(b.deadline) {
			return errLate
		}
		n, err := unix.Read(b.fd, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			if err := b.wait(unix.POLLIN); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case n == 0:
			return errors.New("it closed the connection")
		}
		b.in = append(b.in, buf[:n]...)
		return nil
	}
}

func (b *bus) write(p []byte) error {
	for len(p) > 0 {
		n, err := unix.SendmsgN(b.fd, p, nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if err := b.wait(unix.POLLOUT); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			p = p[n:]
		}
	}
	return nil
}

// errLate is a text of its own only when it is read: formatting it in advance
// would cost every start.
var errLate error = lateError{}

type lateError struct{}

func (lateError) Error() string {
	return fmt.Sprintf("no answer in %v: %v", managerTime, unix.ETIMEDOUT)
}

func (lateError) Unwrap() error { return unix.ETIMEDOUT }

func (b *bus) wait(events int16) error {
	for {
		left := time.Until(b.deadline)
		if left <= 0 {
			return errLate
		}
		p := []unix.PollFd{{Fd: int32(b.fd), Events: events}}
		n, err := unix.Poll(p, int(left/time.Millisecond)+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}

// interrupt ends a wait from another goroutine. It may come when the bus is
// closed, and its number another descriptor's.
func (b *bus) interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		_ = unix.Shutdown(b.fd, unix.SHUT_RDWR)
	}
}

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	unix.Close(b.fd)
}
