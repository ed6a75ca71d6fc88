package cgroup

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// flood is a listener that never stops to send the same message.
func flood(t *testing.T, first, again []byte) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "private")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for _, err = c.Write(first); err == nil; _, err = c.Write(again) {
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return socket
}

// A manager that talks without end about other things is given up like one that
// is silent, and is not remembered without end.
func TestFlood(t *testing.T) {
	ok := []byte("OK 0123456789abcdef\r\n")
	for _, tt := range []struct {
		name  string
		again []byte
		want  string
	}{
		{"signals", answer(kindSignal, 0, "UnitNew", "", "so", textBody("a", "/b")), "no answer in 5s: connection timed out"},
		{"the same job", removed("/other", "done"), "no answer in 5s: connection timed out"},
		{"half a message", []byte{'l', kindSignal, 0, 1}, "it sent a message that is not D-Bus"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := dial(flood(t, ok, tt.again), false, time.Now().Add(200*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			defer b.close()
			begin := time.Now()
			err = b.startTransientUnit("brig-1.scope", nil)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || time.Since(begin) > 5*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	}
	var many []byte
	for i := range maxSignals + 1 {
		many = append(many, removed("/job/"+strings.Repeat("x", i%7)+string(rune('0'+i)), "done")...)
	}
	b, err := dial(listen(t, ok, many), false, time.Now().Add(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if err := b.startTransientUnit("brig-1.scope", nil); err == nil || err.Error() != "it sent 4096 signals and no answer" {
		t.Errorf("got %v", err)
	}
}

// On a bus anybody can send a signal; only the manager's own tells of its jobs.
func TestOthersOnTheBus(t *testing.T) {
	ok := []byte("OK 0123456789abcdef\r\n")
	const request = 4 // after Hello, AddMatch and Subscribe
	reply := answerFrom(":1.1", kindReturn, request, "", "", "o", textBody(job))
	signal := func(from, result string) []byte {
		return answerFrom(from, kindSignal, 0, "JobRemoved", "", "uoss", textBody(uint32(42), job, "brig-1.scope", result))
	}
	for _, tt := range []struct {
		name string
		say  [][]byte
		want string
	}{
		{"the manager", [][]byte{ok, reply, signal(":1.1", "done")}, ""},
		{"the manager first", [][]byte{ok, signal(":1.1", "done"), reply}, ""},
		{"another before it", [][]byte{ok, signal(":1.9", "failed"), reply, signal(":1.9", "failed"), signal(":1.1", "done")}, ""},
		{"another alone", [][]byte{ok, reply, signal(":1.9", "done")}, "no answer in 5s: connection timed out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wait := 20 * time.Second
			if tt.want != "" {
				wait = 100 * time.Millisecond
			}
			b, err := dial(listen(t, tt.say...), true, time.Now().Add(wait))
			if err != nil {
				t.Fatal(err)
			}
			defer b.close()
			if err := b.startTransientUnit("brig-1.scope", nil); err == nil && tt.want != "" || err != nil && err.Error() != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// An interrupt that comes late ends nobody else's connection.
func TestInterruptAfterClose(t *testing.T) {
	b, err := dial(listen(t), false, time.Now().Add(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	// A number that nobody else is given while it is free.
	number, err := unix.FcntlInt(uintptr(b.fd), unix.F_DUPFD_CLOEXEC, 500)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(b.fd)
	b.fd = number
	b.close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	if err := unix.Dup3(pair[0], number, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(number)
	defer unix.Close(pair[0])
	b.interrupt()
	if _, err := unix.Write(number, []byte("x")); errors.Is(err, unix.EPIPE) {
		t.Error("another's connection was shut down")
	}
}

// What was read of a list may end in the middle of a number.
func TestWholeLines(t *testing.T) {
	for text, want := range map[string]string{"": "", "12\n34\n": "12\n34\n", "12\n34": "12\n", "12": ""} {
		if got := wholeLines(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A sweep kills what is in a group: only names that brig chooses are its own.
func TestIsOwnName(t *testing.T) {
	name, err := newName()
	if err != nil || !isOwnName(name) {
		t.Errorf("%q: %v", name, err)
	}
	for _, name := range []string{
		"", "brig-", "brig-1-", "brig--5f3a9c01", "brig-1-5f3a9c0", "brig-1-5f3a9c011", "brig-1-5F3A9C01", "brig-1-5f3a9c01.scope",
		"brig-x-5f3a9c01", "brig-bench.12", "brig-1", "abrig-1-5f3a9c01", "brig-1-5f3a-c01",
	} {
		if isOwnName(name) {
			t.Errorf("%q is taken for brig's", name)
		}
	}
}

// A group that somebody else removes while it is looked at is as good as removed.
func TestListGone(t *testing.T) {
	path := t.TempDir() + "/ns"
	if err := unix.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	if err := unix.Rmdir(path); err != nil {
		t.Fatal(err)
	}
	if names, err := list(dir); !isGone(err) {
		t.Errorf("%q, %v", names, err)
	}
}
