package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what a process, or a group of them, has consumed, as getrusage(2)
// counts it.
type Usage struct {
	User, System time.Duration
	// Voluntary and Forced are context switches.
	Voluntary, Forced int64
	// MaxRSS is the largest resident set of any one process, in bytes. It is
	// honest for the job's processes, which descend from init, a few pages
	// large; that of init itself starts at the size of the process that cloned.
	MaxRSS int64
	// Read and Written are bytes that block devices transferred.
	Read, Written int64
}

// CPU is user plus system time.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// End says how the job ended, as init saw it.
type End struct {
	Status unix.WaitStatus
	// Job is the job's first process with the children it waited for.
	Job Usage
	// Sandbox is every process that init has reaped, the job included.
	Sandbox Usage
	// Init is init itself.
	Init Usage
	// Alone says that no process of the job was left.
	Alone bool
	// Failed is set when the job's process failed before its exec.
	Failed *StepError
}

// Message is what init says: exactly one field is set.
type Message struct {
	Ready  []*os.File // in the order of the plan's Ready op
	Failed *StepError
	End    *End
}

const reportSize = 456

// earlyReportSize is the size of a failure's before init had its program.
const earlyReportSize = 16

// maxDescriptors is how many descriptors one message may carry: the kernel's
// SCM_MAX_FD.
const maxDescriptors = 253

// ErrInitGone says that init ended without a word: it was killed.
var ErrInitGone = errors.New("the sandbox's init process ended without a report")

// said is what has been read from the channel.
type said struct {
	data  [reportSize + 8]byte
	size  int // 0 for the end
	flags int
	files []*os.File
}

// is tells whether it is a whole message of the type and size.
func (m *said) is(kind byte, size int) bool {
	return m.flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) == 0 && m.size == size && m.data[0] == kind
}

func (m *said) close() {
	for _, f := range m.files {
		f.Close()
	}
}

// read reads what comes next. It blocks. Descriptors arrive close-on-exec.
func (c *Child) read() (m said, err error) {
	var oob [unix.SizeofCmsghdr + 4*maxDescriptors]byte
	var n int
	for reset := false; ; {
		m.size, n, m.flags, _, err = unix.Recvmsg(c.channel, m.data[:], oob[:], unix.MSG_CMSG_CLOEXEC)
		// That init has ended with something unread comes before what it said.
		if errors.Is(err, unix.ECONNRESET) && !reset {
			reset = true
		} else if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return m, fmt.Errorf("reading from init: %w", err)
	}
	m.files, err = receivedFiles(oob[:n])
	return m, err
}

// closeUnread closes what nobody will take.
func (c *Child) closeUnread() {
	for i := range c.unread {
		c.unread[i].close()
	}
	c.unread = nil
}

// receive reads one message. It blocks.
func (s *Sandbox) receive() (Message, error) {
	var m said
	var err error
	if len(s.unread) > 0 {
		m, s.unread = s.unread[0], s.unread[1:]
	} else if m, err = s.read(); err != nil {
		return Message{}, err
	}
	if m.is('R', 1) {
		s.reapLauncher()
		return Message{Ready: m.files}, nil
	}
	m.close()
	switch {
	case m.size == 0:
		return Message{}, ErrInitGone
	case m.is('S', 1):
		return Message{}, ErrStopped
	case len(m.files) > 0:
	case m.is('F', earlyReportSize), m.is('F', reportSize), m.is('E', reportSize):
		// Behind a short one are zeroes: what a job has used, and there was none.
		return s.report(m.data[:reportSize])
	}
	return Message{}, fmt.Errorf("init sent a message of %d bytes that is none of its own", m.size)
}

func receivedFiles(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("reading init's descriptors: %w", err)
	}
	var files []*os.File
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return nil, fmt.Errorf("reading init's descriptors: %w", err)
		}
		for _, d := range fds {
			files = append(files, os.NewFile(uintptr(d), "from-init"))
		}
	}
	return files, nil
}

// report decodes struct report of init.c.
func (s *Sandbox) report(b []byte) (Message, error) {
	e := binary.NativeEndian
	step := func() *StepError {
		errno := unix.Errno(e.Uint32(b[8:]))
		if errno == 0 {
			return nil
		}
		return s.stepError(int(e.Uint32(b[4:])), errno)
	}
	switch b[0] {
	case 'F':
		failed := step()
		if failed == nil {
			return Message{}, errors.New("init reported a failure without an error number")
		}
		return Message{Failed: failed}, nil
	default:
		return Message{End: &End{
			Status:  unix.WaitStatus(e.Uint32(b[12:])),
			Alone:   e.Uint32(b[16:]) != 0,
			Failed:  step(),
			Job:     decodeUsage(b[24:]),
			Sandbox: decodeUsage(b[168:]),
			Init:    decodeUsage(b[312:]),
		}}, nil
	}
}

func rusage(ru *unix.Rusage) Usage {
	return Usage{
		User: time.Duration(ru.Utime.Nano()), System: time.Duration(ru.Stime.Nano()),
		Voluntary: ru.Nvcsw, Forced: ru.Nivcsw, Read: ru.Inblock * 512, Written: ru.Oublock * 512,
	}
}

func decodeUsage(b []byte) Usage {
	word := func(i int) int64 { return int64(binary.NativeEndian.Uint64(b[8*i:])) }
	tv := func(i int) time.Duration {
		return time.Duration(word(i))*time.Second + time.Duration(word(i+1))*time.Microsecond
	}
	return Usage{
		User: tv(0), System: tv(2), Voluntary: word(16), Forced: word(17),
		MaxRSS: word(4) * 1024, Read: word(10) * 512, Written: word(11) * 512,
	}
}
