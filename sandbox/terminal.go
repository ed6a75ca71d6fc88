package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// errNoTerminal is returned where a terminal is asked for and the caller has
// none; the sentence is docker's, which people know.
var errNoTerminal = errors.New("the input device is not a TTY; leave out -t, or run brig from a terminal")

// terminal connects the caller's terminal with the job's own one, a
// pseudo-terminal of the sandbox's devpts of which brig holds the master.
//
// The caller's terminal is put into raw mode, so that every key, Ctrl-C too,
// is a byte for the job's terminal, where it has its meaning. What the job
// prints passes unchanged, escape sequences included, as it must on a
// terminal. The job never holds a descriptor of the caller's terminal and so
// cannot push input into it (TIOCSTI).
//
// Raw mode is the terminal's, not the process's, and would outlive brig:
// restore has to run on every way out, deferred at once after openTerminal.
type terminal struct {
	in, out int
	saved   unix.Termios
	raw     bool
	once    sync.Once
	resized chan os.Signal
	quit    chan struct{}
	watcher sync.WaitGroup
}

// openTerminal looks at the caller's descriptors and changes nothing yet. out
// may be something else than a terminal.
func openTerminal(in, out *os.File) (*terminal, error) {
	t := &terminal{}
	var err error
	if t.in, err = terminalFD(in); err != nil {
		return nil, err
	}
	saved, err := unix.IoctlGetTermios(t.in, unix.TCGETS)
	if err != nil {
		return nil, errNoTerminal
	}
	t.saved = *saved
	if t.out, err = terminalFD(out); err != nil {
		return nil, err
	}
	return t, nil
}

func terminalFD(f *os.File) (int, error) {
	if f == nil {
		return -1, errNoTerminal
	}
	return fdOf(f)
}

// attach takes over the master, puts the caller's terminal into raw mode,
// gives the job's terminal its size, now and after each change, and returns
// what pumps the bytes, not started yet. limit and onOver are openStdio's;
// hangup is called once, from the pump's goroutine, when the caller's terminal
// goes away.
func (t *terminal) attach(master int, limit Amount, onOver func(Overrun), hangup func()) (*stdio, error) {
	// Non-blocking for both directions: nobody else uses the master.
	if err := unix.SetNonblock(master, true); err != nil {
		_ = unix.Close(master)
		return nil, fmt.Errorf("the job's terminal: %w", err)
	}
	toJob, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		_ = unix.Close(master)
		return nil, fmt.Errorf("the job's terminal: %w", err)
	}
	s := &stdio{
		jobEnds: [3]int{-1, -1, -1}, cap: limit, onOver: onOver, wake: -1,
		in: &inStream{from: t.in, to: toJob, kept: -1, kind: unix.S_IFCHR, pty: true, hangup: hangup},
	}
	out, err := outStreamTo(t.out)
	if err == nil {
		out.from, out.pty, out.copying = master, true, true
		s.out = []*outStream{out}
		if err = t.resize(master); err == nil {
			err = t.makeRaw()
		}
	} else {
		_ = unix.Close(master)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("the caller's terminal: %w", err)
	}
	t.follow(master)
	return s, nil
}

// follow forwards changes of the size until restore. It works on a descriptor
// of its own: the pump closes the master as soon as the job's side is closed.
func (t *terminal) follow(master int) {
	fd, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return // the size stays what it is
	}
	t.resized, t.quit = make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(t.resized, unix.SIGWINCH)
	t.watcher.Go(func() {
		defer func() { _ = unix.Close(fd) }()
		for {
			// The size may have changed between attach and Notify.
			_ = t.resize(fd)
			select {
			case <-t.resized:
			case <-t.quit:
				return
			}
		}
	})
}

// resize gives the job's terminal the size of the caller's. The kernel sends
// SIGWINCH to the job where that is a change.
func (t *terminal) resize(master int) error {
	size, err := unix.IoctlGetWinsize(t.in, unix.TIOCGWINSZ)
	if err != nil {
		return err
	}
	return unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, size)
}

// makeRaw is cfmakeraw(3), with reads that return from the first byte on.
func (t *terminal) makeRaw() error {
	raw := t.saved
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(t.in, unix.TCSETS, &raw); err != nil {
		return err
	}
	t.raw = true
	return nil
}

// restore gives the caller's terminal back as it was found and ends the
// forwarding of its size. Only the first call does anything. An error is not
// worth a report: the terminal has gone away.
func (t *terminal) restore() {
	t.once.Do(func() {
		if t.quit != nil {
			signal.Stop(t.resized)
			close(t.quit)
			t.watcher.Wait()
		}
		if t.raw {
			_ = unix.IoctlSetTermios(t.in, unix.TCSETS, &t.saved)
		}
	})
}
