package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// inStream moves the caller's standard input into the job's pipe.
//
// A pipe has no way to tell that its reader waits, so up to a pipe's capacity
// is read ahead. From a regular file nothing is lost by that: it is read by
// position, and when the job has ended, the offset that the caller's processes
// share is moved by exactly what the job consumed. From a pipe, socket or
// terminal what was read ahead is gone, as with ssh or docker run -i: a script
// that reads its own stdin gives the job none (nil, or </dev/null).
type inStream struct {
	from   int // the caller's descriptor; -1 for a reader
	kind   uint32
	reader io.Reader
	to     int // brig's end of the job's pipe; -1 once closed

	// Regular files: the offset found, how far was read, and the job's end of
	// the pipe, kept open to see in the end what the job left in it.
	start, offset int64
	kept          int
	buf           []byte // allocated on first use
	rest          []byte // of buf: read, and not yet in the pipe
	eof           bool
	full          bool // spliced until the job's pipe was full
	file          *os.File
	err           error

	pty    bool   // to is the master of the job\'s terminal
	hangup func() // called when a terminal goes away
}

const (
	copyChunk = 32 << 10
	// careful bounds a write to a descriptor that must stay in blocking mode.
	// When poll says POLLOUT, a pipe takes PIPE_BUF bytes and a terminal about
	// as many without blocking.
	careful = 4096
)

// openIn looks at the caller's stdin. It returns nil when the job gets
// /dev/null: for nil, and for a caller's own /dev/null, which saves a pipe and
// the pump's work for it.
func openIn(r io.Reader) (*inStream, error) {
	if isNil(r) {
		return nil, nil
	}
	fd, err := fdOf(r)
	if err != nil {
		return nil, err
	}
	in := &inStream{from: fd, to: -1, kept: -1}
	if fd < 0 {
		in.reader = r
		return in, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	in.kind = st.Mode & unix.S_IFMT
	switch {
	case isDevNull(&st):
		return nil, nil
	case in.kind == unix.S_IFDIR:
		return nil, fmt.Errorf("%w; give a file", unix.EISDIR)
	case in.kind == unix.S_IFREG:
		if in.start, err = unix.Seek(fd, 0, unix.SEEK_CUR); err != nil {
			return nil, err
		}
		in.offset = in.start
	}
	return in, nil
}

func isDevNull(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// begin starts the goroutine a plain reader needs, because only descriptors
// can be polled. It ends when the reader does, or the pipe.
func (in *inStream) begin() {
	if in.reader == nil || in.to < 0 {
		return
	}
	in.file = os.NewFile(uintptr(in.to), "job's standard input")
	in.to = -1
	go func(f *os.File, r io.Reader) {
		_, _ = io.Copy(f, onlyReader{r})
		_ = f.Close()
	}(in.file, in.reader)
}

// onlyReader hides WriteTo, which would hand the reader's own idea of writing
// a whole buffer at once to the pipe.
type onlyReader struct{ io.Reader }

// wants says what to poll for: the caller's side when there is room for more,
// the job's side to write the rest or to learn that the job closed it.
func (in *inStream) wants() (from, to int16) {
	switch {
	case in.to < 0 || in.reader != nil:
		return 0, 0
	case len(in.rest) > 0 || in.full:
		return 0, unix.POLLOUT
	}
	if in.pty {
		return unix.POLLIN, 0 // a master without slaves reports a hang-up for ever
	}
	return unix.POLLIN, watchOnly
}

// watchOnly asks poll for errors alone. It is not a poll bit.
const watchOnly int16 = 1 << 14

// step is called when poll has reported fromReady or toReady.
func (in *inStream) step(fromReady, toReady int16) {
	if in.to < 0 {
		return
	}
	if toReady&(unix.POLLERR|unix.POLLNVAL) != 0 {
		in.end() // the job closed its input, or is gone
		return
	}
	in.full = in.full && toReady == 0
	var err error
	switch {
	case len(in.rest) > 0:
		err = in.flush()
	case in.kind == unix.S_IFIFO && (fromReady != 0 || toReady != 0):
		err = in.spliceOnce()
	case fromReady != 0:
		if err = in.fill(); err == nil {
			err = in.flush()
		}
	}
	// A terminal nobody has open any more is like a pipe without a reader.
	closed := errors.Is(err, unix.EPIPE) || in.pty && errors.Is(err, unix.EIO)
	if err != nil && !closed {
		in.err = fmt.Errorf("read the job's input: %w", err)
	}
	if in.eof && in.hangup != nil {
		in.hangup()
		in.hangup = nil
	}
	if err != nil || in.eof && len(in.rest) == 0 {
		in.end()
	}
}

// spliceOnce moves bytes from the caller's pipe. A read would block, and with
// it the job's output, when another process that shares the pipe has taken the
// bytes first; a splice can be told not to without changing the description.
func (in *inStream) spliceOnce() error {
	n, err := unix.Splice(in.from, nil, in.to, nil, copyChunk*2, unix.SPLICE_F_NONBLOCK)
	switch {
	case errors.Is(err, unix.EAGAIN):
		in.full = bytesIn(in.from) > 0 // else somebody else took the bytes
		return nil
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return err
	}
	in.eof = n == 0
	return nil
}

// fill reads by position from a regular file, so that nobody else's offset
// moves. It copies on purpose: splice would put pages of the caller's file
// itself into a pipe that the job can open for writing, which has been a
// kernel hole before (CVE-2022-0847).
func (in *inStream) fill() error {
	if in.buf == nil {
		in.buf = make([]byte, copyChunk)
	}
	var n int
	var err error
	switch in.kind {
	case unix.S_IFREG:
		n, err = unix.Pread(in.from, in.buf, in.offset)
	case unix.S_IFSOCK:
		n, _, err = unix.Recvfrom(in.from, in.buf, unix.MSG_DONTWAIT)
	default:
		n, err = unix.Read(in.from, in.buf)
	}
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.EIO) && in.kind == unix.S_IFCHR:
		n = 0 // the terminal went away: the end of input
	case err != nil:
		return err
	}
	in.offset += int64(n)
	in.eof = n == 0
	in.rest = in.buf[:n]
	return nil
}

func (in *inStream) flush() error {
	if len(in.rest) == 0 {
		return nil
	}
	n, err := unix.Write(in.to, in.rest)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return err
	}
	in.rest = in.rest[n:]
	return nil
}

// end closes the pipe; the job sees the end of its input.
func (in *inStream) end() {
	if in.file != nil {
		_ = in.file.Close()
		in.file = nil
	}
	closeFD(&in.to)
}

// settle gives the unread part of a regular file back, once the job is gone.
// What it consumed is what was put into the pipe less what is still there.
func (in *inStream) settle() {
	if in.kept >= 0 && in.offset > in.start {
		consumed := in.offset - int64(len(in.rest)) - int64(bytesIn(in.kept))
		_, _ = unix.Seek(in.from, consumed, unix.SEEK_SET)
	}
	closeFD(&in.kept)
}

// bytesIn is the number of bytes in a pipe; it can be asked at either end.
func bytesIn(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ) // FIONREAD
	if err != nil {
		return 0
	}
	return n
}
