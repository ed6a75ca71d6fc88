package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// stdio is the job's standard input, output and error: pipes that brig made,
// or /dev/null. None of them is ever a file, socket or terminal of the caller,
// because a job can open /proc/self/fd/0 again, for writing.
//
//	caller's stdin  ── pump ──▶ pipe ──▶ job's 0
//	caller's stdout ◀── pump ── pipe ◀── job's 1     one cap for both
//	caller's stderr ◀── pump ── pipe ◀── job's 2
//
// Order of use: openStdio, hand jobEnds to the launch, closeJobEnds, start,
// finish. After a failed launch close alone is enough.
type stdio struct {
	// jobEnds become the job's 0, 1 and 2; -1 stands for /dev/null. 1 and 2
	// are one descriptor where the caller's are one file.
	jobEnds [3]int

	in  *inStream // nil for /dev/null
	out []*outStream
	cap Amount // bytes that both outputs may take together; Unknown for no cap

	// Of the pump's goroutine until done is closed.
	taken    int64 // bytes taken from the job
	over     bool
	draining bool
	err      error // the first failed delivery
	onOver   func(Overrun)

	// Between finish and the pump.
	wake      int // eventfd: finishing has been set
	finishing atomic.Bool
	patience  atomic.Int64
	moved     atomic.Int64 // grows with everything the pump does
	done      chan struct{}
	later     *time.Timer // starts the pump where that is put off
}

// openStdio makes the pipes for the caller's streams. Each of them may be an
// *os.File, which is used by descriptor and never changed (its O_NONBLOCK and
// offset are shared with other processes), any other reader or writer, or nil
// for /dev/null. limit bounds stdout and stderr together; onOver is called
// once, from the pump's goroutine, when the job has written more.
func openStdio(stdin io.Reader, stdout, stderr io.Writer, limit Amount, onOver func(Overrun)) (*stdio, error) {
	s := &stdio{jobEnds: [3]int{-1, -1, -1}, cap: limit, onOver: onOver, wake: -1}
	if err := s.open(stdin, stdout, stderr); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stdio) open(stdin io.Reader, stdout, stderr io.Writer) error {
	in, err := openIn(stdin)
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if in != nil {
		s.in = in
		s.jobEnds[0], in.to, err = jobPipe(forJobToRead)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
	}
	out, err := s.openOut(1, stdout)
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	// Two pipes would lose the order in which the job wrote to 1 and 2, which
	// matters wherever both end in one place ("2>&1", a terminal).
	if out != nil && sameSink(stdout, stderr) {
		s.jobEnds[2] = s.jobEnds[1]
		return nil
	}
	if _, err = s.openOut(2, stderr); err != nil {
		return fmt.Errorf("standard error: %w", err)
	}
	return nil
}

func (s *stdio) openOut(n int, w io.Writer) (*outStream, error) {
	if isNil(w) {
		return nil, nil
	}
	o, err := newOutStream(w)
	if err != nil {
		return nil, err
	}
	s.jobEnds[n], o.from, err = jobPipe(forJobToWrite)
	if err != nil {
		return nil, err
	}
	s.out = append(s.out, o)
	return o, nil
}

// The two directions of a pipe to the job.
const (
	forJobToRead  = 0
	forJobToWrite = 1
)

// jobPipe returns the job's end and brig's. Only brig's is non-blocking: the
// two ends have file descriptions of their own, and the job's must behave as
// any program expects. brig's has to be, since a hostile job can open its own
// pipe again and take the bytes away between poll and read.
//
// The size is left at the kernel's default: pipes of all of a user's
// processes share one budget (pipe-user-pages-soft), and 64 KiB at a time is
// already more than enough to keep a splice busy.
func jobPipe(jobEnd int) (job, ours int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, fmt.Errorf("pipe: %w", err)
	}
	job, ours = p[jobEnd], p[1-jobEnd]
	_, err = unix.FcntlInt(uintptr(ours), unix.F_SETFL, unix.O_NONBLOCK)
	if err == nil {
		// The job may have another id, and programs open /dev/stdout by name.
		// Nobody but those who hold the pipe can.
		err = unix.Fchmod(job, 0o666)
	}
	if err != nil {
		closeFD(&job)
		closeFD(&ours)
		return -1, -1, fmt.Errorf("pipe: %w", err)
	}
	return job, ours, nil
}

// closeJobEnds is called as soon as the job holds its ends: until then no end
// of file can be seen.
func (s *stdio) closeJobEnds() {
	if s.jobEnds[2] == s.jobEnds[1] {
		s.jobEnds[2] = -1
	}
	if s.in != nil && s.in.kind == unix.S_IFREG && s.jobEnds[0] >= 0 {
		s.in.kept, s.jobEnds[0] = s.jobEnds[0], -1
	}
	for i := range s.jobEnds {
		closeFD(&s.jobEnds[i])
	}
}

// close gives everything back that a stdio holds while no pump runs.
func (s *stdio) close() {
	s.closeJobEnds()
	if s.in != nil {
		s.in.end()
		s.in.settle()
	}
	for _, o := range s.out {
		closeFD(&o.from)
	}
	closeFD(&s.wake)
}

// outputBytes is what was delivered of the job's output. It is valid once
// finish has returned.
func (s *stdio) outputBytes() int64 { return s.taken }

func closeFD(fd *int) {
	if *fd >= 0 {
		_ = unix.Close(*fd)
		*fd = -1
	}
}

// isNil also knows the nil *os.File in a non-nil interface.
func isNil(v any) bool {
	f, ok := v.(*os.File)
	return v == nil || ok && f == nil
}

// fdOf is the descriptor of an *os.File, or -1. File.Fd is not used: it may
// change the mode of the caller's file description.
func fdOf(v any) (int, error) {
	f, ok := v.(*os.File)
	if !ok {
		return -1, nil
	}
	c, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if err := c.Control(func(p uintptr) { fd = int(p) }); err != nil {
		return -1, err
	}
	return fd, nil
}

// sameSink says whether two writers end in one place: the same value, or
// descriptors of one file, pipe or terminal.
func sameSink(a, b io.Writer) bool {
	if isNil(a) || isNil(b) {
		return false
	}
	x, errX := fdOf(a)
	y, errY := fdOf(b)
	if errX != nil || errY != nil || (x < 0) != (y < 0) {
		return false
	}
	if x < 0 {
		return equalWriters(a, b)
	}
	var p, q unix.Stat_t
	if unix.Fstat(x, &p) != nil || unix.Fstat(y, &q) != nil {
		return false
	}
	return p.Dev == q.Dev && p.Ino == q.Ino && p.Rdev == q.Rdev
}

// equalWriters compares two interfaces that may hold types without equality.
func equalWriters(a, b io.Writer) (same bool) {
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return a == b
}

// errOutputStuck is returned by finish when the caller's side did not take
// what the job had written within the given patience.
var errOutputStuck = errors.New("the reader of the job's output takes nothing")
