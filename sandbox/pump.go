package sandbox

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// start begins to pump, in a goroutine of its own: a caller that does not read
// must not keep the supervisor from its deadlines.
func (s *stdio) start() error {
	if s.in == nil && len(s.out) == 0 {
		return nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	s.wake = fd
	s.done = make(chan struct{})
	if s.in != nil {
		s.in.begin()
	}
	if s.in == nil {
		// Output can wait for a moment, and often the job is done by then.
		s.later = time.AfterFunc(pumpDelay, s.pump)
		return nil
	}
	go s.pump()
	return nil
}

// pumpDelay is how long the pump of a job without input is put off: a job that
// ends before needs no goroutine for its output.
const pumpDelay = 3 * time.Millisecond

// finish is called when the job and everything in its sandbox is gone, so that
// what is in the pipes now is all there will ever be. It delivers that and
// returns the first error of a delivery. patience is how long the caller's
// side may take nothing before the rest is dropped and errOutputStuck is
// returned; negative waits as long as it takes, which is right after a job
// that ended by itself. The pump's callback may still be called in here.
func (s *stdio) finish(patience time.Duration) error {
	if s.done == nil {
		s.close()
		return nil
	}
	s.patience.Store(int64(patience))
	s.finishing.Store(true)
	one := [8]byte{1} // not zero in either byte order
	_, _ = unix.Write(s.wake, one[:])
	if s.later != nil && s.later.Stop() {
		if patience < 0 {
			s.pump()
		} else {
			go s.pump() // it may be held up, see below
		}
	}
	if patience < 0 {
		<-s.done
		s.close()
		return s.err
	}
	late := time.NewTimer(patience + pumpMargin)
	defer late.Stop()
	for {
		before := s.moved.Load()
		select {
		case <-s.done:
			s.close()
			return s.err
		case <-late.C:
			if s.moved.Load() != before {
				late.Reset(patience + pumpMargin)
				continue
			}
			// A plain writer, or a terminal that said it had room, holds the
			// pump itself. It is left behind and ends when the write does.
			go func() { <-s.done; s.close() }()
			return errOutputStuck
		}
	}
}

// pumpMargin lets the pump notice by itself that its patience is at an end.
const pumpMargin = 100 * time.Millisecond

// Places in the pump's poll set. A negative descriptor is skipped by poll.
const (
	pollWake = iota
	pollInFrom
	pollInTo
	pollOut  // and one more for each further output
	pollSize = pollOut + 2
)

func (s *stdio) pump() {
	defer close(s.done)
	var polls [pollSize]unix.PollFd
	for s.prepare(&polls) {
		timeout := -1
		if s.draining {
			timeout = pollTimeout(s.patience.Load())
			if s.waitsForHangup() {
				timeout = int(ptyGrace.Milliseconds())
			}
		}
		ready, err := unix.Poll(polls[:], timeout)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			s.fail(fmt.Errorf("poll: %w", err))
			return
		case ready == 0 && s.waitsForHangup():
			return
		case ready == 0:
			s.fail(errOutputStuck)
			return
		}
		s.moved.Add(1)
		if polls[pollWake].Revents != 0 && s.finishing.Load() {
			s.drain()
			continue
		}
		if s.in != nil && polls[pollInFrom].Revents|polls[pollInTo].Revents != 0 {
			s.in.step(polls[pollInFrom].Revents, polls[pollInTo].Revents)
			if s.in.err != nil {
				s.fail(s.in.err)
			}
		}
		for i, o := range s.out {
			if polls[pollOut+i].Revents != 0 {
				s.move(o)
			}
		}
	}
}

// pollTimeout rounds up to poll's milliseconds.
func pollTimeout(patience int64) int {
	if patience < 0 {
		return -1
	}
	return int((patience + int64(time.Millisecond) - 1) / int64(time.Millisecond))
}

// prepare fills the poll set and says whether anything is left to wait for.
func (s *stdio) prepare(polls *[pollSize]unix.PollFd) bool {
	for i := range polls {
		polls[i] = unix.PollFd{Fd: -1}
	}
	active := false
	if s.in != nil {
		from, to := s.in.wants()
		if from != 0 {
			polls[pollInFrom] = unix.PollFd{Fd: int32(s.in.from), Events: from}
		}
		if to != 0 {
			polls[pollInTo] = unix.PollFd{Fd: int32(s.in.to), Events: to &^ watchOnly}
		}
		active = from|to != 0
	}
	for i, o := range s.out {
		switch {
		case len(o.rest) > 0 || o.stuck && o.from >= 0:
			polls[pollOut+i] = unix.PollFd{Fd: int32(o.to), Events: unix.POLLOUT}
		case o.from >= 0:
			polls[pollOut+i] = unix.PollFd{Fd: int32(o.from), Events: unix.POLLIN}
		default:
			continue
		}
		active = true
	}
	if !s.draining {
		polls[pollWake] = unix.PollFd{Fd: int32(s.wake), Events: unix.POLLIN}
	}
	return active
}

// ptyGrace bounds the wait for the end of a terminal's output. It comes by
// itself as soon as the kernel has let go of the job's last descriptor.
const ptyGrace = 500 * time.Millisecond

// waitsForHangup says that only the end of a drained terminal is missing.
func (s *stdio) waitsForHangup() bool {
	if !s.draining || len(s.out) != 1 {
		return false
	}
	o := s.out[0]
	return o.pty && o.from >= 0 && !o.stuck && len(o.rest) == 0
}

// drain limits every output to what is in its pipe now, and ends the input.
func (s *stdio) drain() {
	s.draining = true
	if s.in != nil {
		s.in.end()
	}
	for _, o := range s.out {
		if o.from >= 0 && !o.pty {
			o.left = Amount(bytesIn(o.from))
			if o.left == 0 {
				closeFD(&o.from)
			}
		}
	}
}

func (s *stdio) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}
