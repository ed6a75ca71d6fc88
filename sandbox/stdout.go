package sandbox

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// outStream moves one of the job's outputs to the caller.
//
// Pipes and regular files get the bytes by splice, without a copy; terminals,
// sockets, files opened for appending and plain writers by read and write.
// Nothing here waits on the caller's side except a plain writer's own Write:
// every descriptor is polled first, pipes and sockets are told not to block
// for this one call, and a terminal gets no more than it said it has room for.
type outStream struct {
	from    int // brig's end of the job's pipe; -1 once closed
	to      int // the caller's descriptor; -1 for a writer
	writer  io.Writer
	kind    uint32
	copying bool   // splice is impossible here
	stuck   bool   // waiting for the caller's side
	buf     []byte // allocated on first use
	rest    []byte // of buf: counted, and not yet delivered
	left    Amount // in the pipe once the job is gone; Unknown before
	pty     bool   // from is the master of the job's terminal
}

func newOutStream(w io.Writer) (*outStream, error) {
	fd, err := fdOf(w)
	if err != nil {
		return nil, err
	}
	if fd < 0 {
		return &outStream{from: -1, to: -1, left: Unknown, writer: w}, nil
	}
	return outStreamTo(fd)
}

func outStreamTo(fd int) (*outStream, error) {
	o := &outStream{from: -1, to: fd, left: Unknown}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	o.kind = st.Mode & unix.S_IFMT
	o.copying = o.kind != unix.S_IFIFO && o.kind != unix.S_IFREG && !isDevNull(&st)
	return o, nil
}

// move takes what the cap still allows from the job's pipe and delivers it, or
// delivers the rest of an earlier turn.
func (s *stdio) move(o *outStream) {
	o.stuck = false
	if len(o.rest) == 0 {
		if o.from < 0 {
			return // closed by the other output's overrun in this very turn
		}
		n := s.allowed(o)
		if n == 0 {
			s.atCap(o)
			return
		}
		if !o.copying && o.writer == nil {
			s.result(o, s.splice(o, n))
			return
		}
		if err := s.take(o, n); err != nil {
			s.result(o, err)
			return
		}
		// A terminal is asked first whether it has room.
		o.stuck = o.kind != unix.S_IFREG && o.kind != unix.S_IFSOCK && o.writer == nil && len(o.rest) > 0
	}
	if !o.stuck {
		s.result(o, o.deliver())
	}
}

// allowed is how much may be taken in one turn.
func (s *stdio) allowed(o *outStream) int {
	n := int64(2 * copyChunk)
	if s.cap >= 0 {
		n = min(n, int64(s.cap)-s.taken)
	}
	if o.left >= 0 {
		n = min(n, int64(o.left))
	}
	return int(n)
}

// atCap is reached when the cap is used up and the pipe is readable: by more
// bytes, which is the overrun, or by its end, which is none.
func (s *stdio) atCap(o *outStream) {
	more := bytesIn(o.from)
	if o.pty { // FIONREAD does not see what is on its way through a terminal
		var one [1]byte
		more, _ = unix.Read(o.from, one[:])
		if more < 0 {
			more = 0
		}
	}
	closeFD(&o.from)
	if more == 0 || s.over {
		return
	}
	s.over = true
	for _, other := range s.out {
		closeFD(&other.from)
	}
	if s.onOver != nil {
		s.onOver(Overrun{Over: true, Limit: int64(s.cap), Seen: s.taken + int64(more)})
	}
}

func (s *stdio) splice(o *outStream, n int) error {
	moved, err := unix.Splice(o.from, nil, o.to, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
	switch {
	case errors.Is(err, unix.EAGAIN):
		// Either the caller's pipe is full, or the job took its bytes back.
		o.stuck = bytesIn(o.from) > 0
		return nil
	case errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.EINVAL):
		o.copying = true // opened with O_APPEND, or a file system without splice
		return nil
	case err != nil:
		return err
	case moved == 0:
		closeFD(&o.from)
		return nil
	}
	s.count(o, int(moved))
	return nil
}

// take reads at most n bytes into o.rest and counts them.
func (s *stdio) take(o *outStream, n int) error {
	if o.buf == nil {
		o.buf = make([]byte, copyChunk)
	}
	got, err := unix.Read(o.from, o.buf[:min(n, len(o.buf))])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case got == 0, o.pty && errors.Is(err, unix.EIO): // the last slave was closed
		closeFD(&o.from)
		return nil
	case err != nil:
		return fmt.Errorf("read the job's output: %w", err)
	}
	o.rest = o.buf[:got]
	s.count(o, got)
	return nil
}

func (s *stdio) count(o *outStream, n int) {
	s.taken += int64(n)
	if o.left >= 0 {
		if o.left -= Amount(n); o.left == 0 {
			closeFD(&o.from)
		}
	}
}

// deliver writes o.rest without waiting for the caller's side.
func (o *outStream) deliver() error {
	if len(o.rest) == 0 {
		return nil
	}
	var n int
	var err error
	switch {
	case o.writer != nil:
		if n, err = o.writer.Write(o.rest); err == nil && n < len(o.rest) {
			err = io.ErrShortWrite
		}
	case o.kind == unix.S_IFREG:
		n, err = unix.Write(o.to, o.rest)
	case o.kind == unix.S_IFSOCK:
		n, err = unix.SendmsgN(o.to, o.rest, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	default:
		n, err = unix.Write(o.to, o.rest[:min(len(o.rest), careful)])
	}
	o.rest = o.rest[max(n, 0):]
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// result handles a failed delivery: the job's pipe is closed, so that it gets
// SIGPIPE as if it had written itself. A reader that went away is no error.
func (s *stdio) result(o *outStream, err error) {
	if err == nil {
		return
	}
	s.taken -= int64(len(o.rest))
	o.rest = nil
	closeFD(&o.from)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.ErrClosedPipe) {
		return
	}
	s.fail(fmt.Errorf("deliver the job's output: %w", err))
}
