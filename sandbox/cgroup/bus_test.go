package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// answer is a message as a manager sends it: of a type, with header fields and
// a body.
func answer(kind byte, replyTo uint32, member, errorName, signature string, body []byte) []byte {
	return answerFrom("", kind, replyTo, member, errorName, signature, body)
}

// answerFrom is one that a bus has passed on.
func answerFrom(sender string, kind byte, replyTo uint32, member, errorName, signature string, body []byte) []byte {
	e := encoder{b: []byte{'l', kind, 0, 1}}
	e.u32(uint32(len(body)))
	e.u32(7)
	e.array(8, func() {
		text := func(code byte, kind, value string) {
			if value == "" {
				return
			}
			e.align(8)
			e.b = append(e.b, code)
			e.signature(kind)
			if kind == "g" {
				e.signature(value)
			} else {
				e.string(value)
			}
		}
		text(fieldMember, "s", member)
		text(fieldErrorName, "s", errorName)
		text(fieldSender, "s", sender)
		if replyTo != 0 {
			e.align(8)
			e.b = append(e.b, fieldReplySerial)
			e.signature("u")
			e.u32(replyTo)
		}
		text(fieldSignature, "g", signature)
	})
	e.align(8)
	return append(e.b, body...)
}

func textBody(list ...any) []byte {
	var e encoder
	for _, v := range list {
		switch v := v.(type) {
		case string:
			e.string(v)
		case uint32:
			e.u32(v)
		}
	}
	return e.b
}

const job = "/org/freedesktop/systemd1/job/42"

func removed(path, result string) []byte {
	return answer(kindSignal, 0, "JobRemoved", "", "uoss", textBody(uint32(42), path, "brig-1.scope", result))
}

// listen makes a socket on which one caller is answered with what a manager
// would send, or not at all.
func listen(t *testing.T, say ...[]byte) string {
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
		for _, m := range say {
			if _, err := c.Write(m); err != nil {
				return
			}
		}
		_, _ = bytes.NewBuffer(nil).ReadFrom(c) // until the caller hangs up
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return socket
}

// What a manager answers decides: only a job that is done is a scope.
func TestStartTransientUnit(t *testing.T) {
	ok, reply := []byte("OK 0123456789abcdef\r\n"), answer(kindReturn, 1, "", "", "o", textBody(job))
	for _, tt := range []struct {
		name string
		say  [][]byte
		want string // "" for success
	}{
		{"done", [][]byte{ok, reply, removed(job, "done")}, ""},
		{"in one piece", [][]byte{bytes.Join([][]byte{ok, reply, removed(job, "done")}, nil)}, ""},
		{"the signal first", [][]byte{ok, removed(job, "done"), reply}, ""},
		{"other jobs between", [][]byte{ok, removed("/other", "failed"), reply, removed("/another", "canceled"), removed(job, "done")}, ""},
		{"other signals between", [][]byte{ok, answer(kindSignal, 0, "UnitNew", "", "so", textBody("a", "/b")), reply, removed(job, "done")}, ""},
		{"failed", [][]byte{ok, reply, removed(job, "failed")}, `the job of the scope brig-1.scope ended with "failed"`},
		{
			"an error",
			[][]byte{ok, answer(kindError, 1, "", "org.freedesktop.systemd1.UnitExists", "s", textBody("Unit brig-1.scope already exists."))},
			"org.freedesktop.systemd1.UnitExists: Unit brig-1.scope already exists.",
		},
		{"another's error", [][]byte{ok, answer(kindError, 9, "", "x.y", "s", textBody("no")), reply, removed(job, "done")}, ""},
		{"not believed", [][]byte{[]byte("REJECTED EXTERNAL\r\n")}, `it does not believe who the caller is: "REJECTED EXTERNAL"`},
		{"not D-Bus", [][]byte{[]byte("OK x\r\nHTTP/1.1 400 Bad Request\r\n")}, "it sent a message that is not D-Bus"},
		{"no end of a line", [][]byte{bytes.Repeat([]byte("x"), 20<<10)}, "it does not speak D-Bus"},
		{"a reply of another type", [][]byte{ok, answer(kindReturn, 1, "", "", "s", textBody(job))}, "it sent a message that is not D-Bus"},
		{"a signal of another type", [][]byte{ok, reply, answer(kindSignal, 0, "JobRemoved", "", "uos", textBody(uint32(1), job, "x"))}, "it sent a message that is not D-Bus"},
		{"a message of 1 GiB", [][]byte{ok, {'l', 2, 0, 1, 0, 0, 0, 0x40, 1, 0, 0, 0, 0, 0, 0, 0}}, "it sent a message that is not D-Bus of this size: 0 and 1073741824 bytes"},
		{"silence", nil, "no answer in 5s: connection timed out"},
		{"silence after the reply", [][]byte{ok, reply}, "no answer in 5s: connection timed out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wait := 20 * time.Second
			if strings.HasPrefix(tt.name, "silence") {
				wait = 50 * time.Millisecond
			}
			b, err := dial(listen(t, tt.say...), false, time.Now().Add(wait))
			if err != nil {
				t.Fatal(err)
			}
			defer b.close()
			err = b.startTransientUnit("brig-1.scope", nil)
			if got := fmt.Sprint(err); err == nil && tt.want != "" || err != nil && got != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDialNobody(t *testing.T) {
	if _, err := dial(filepath.Join(t.TempDir(), "nothing"), false, time.Now().Add(time.Second)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(file, false, time.Now().Add(time.Second)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

// A cancelled caller does not wait for a manager that hangs.
func TestInterrupt(t *testing.T) {
	b, err := dial(listen(t), false, time.Now().Add(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	time.AfterFunc(20*time.Millisecond, b.interrupt)
	begin := time.Now()
	if err := b.startTransientUnit("x.scope", nil); err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// The body of a request, byte for byte by the D-Bus specification: lengths,
// paddings and types. That a manager takes it is TestGroup's to show.
func TestRequest(t *testing.T) {
	var e encoder
	e.string("a.scope")
	e.string("fail")
	if err := e.properties([]property{{"Delegate", "b", true}, {"PIDs", "au", []uint32{7}}, {"MemoryMax", "t", uint64(1 << 20)}}); err != nil {
		t.Fatal(err)
	}
	e.array(8, func() {})
	want := "" +
		"\x07\x00\x00\x00a.scope\x00" + "\x04\x00\x00\x00fail\x00" + "\x00\x00\x00" +
		"\x50\x00\x00\x00" + "\x00\x00\x00\x00" + // 80 bytes, not counting what aligns the first
		"\x08\x00\x00\x00Delegate\x00" + "\x01b\x00" + "\x01\x00\x00\x00" + "\x00\x00\x00\x00" +
		"\x04\x00\x00\x00PIDs\x00" + "\x02au\x00" + "\x00\x00\x00" + "\x04\x00\x00\x00\x07\x00\x00\x00" +
		"\x09\x00\x00\x00MemoryMax\x00" + "\x01t\x00" + "\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x10\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	if got := string(e.b); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(answer(kindReturn, 1, "", "", "o", textBody(job)))
	f.Add(removed(job, "done"))
	f.Add(answer(kindError, 1, "", "a.b", "s", textBody("text")))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, size, err := decode(b)
		if err != nil || m == nil {
			return
		}
		if size <= 0 || size > len(b) {
			t.Fatalf("%d of %d bytes", size, len(b))
		}
		_ = m.firstString()
		_, _ = m.objectPath()
		_, _, _ = m.jobRemoved()
	})
}
