package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Report is where a result or a meta file goes. It is opened before the job
// starts: a destination that cannot work is an error before an hour of
// computing, and no directory or link that the job changes in the meantime can
// redirect what brig writes.
//
// A regular file appears whole or not at all: it is written under another name
// in its directory and renamed. A FIFO, a device or a descriptor is written
// directly.
type Report struct {
	dest string // as the user named it, for messages
	fd   int    // the destination, or the temporary file's directory
	own  bool   // fd is closed by Close
	name string // of the regular file in fd; empty for direct writing
	mode uint32 // of a file that is replaced; 0 for a new one
}

// Inherited refuses a destination that names a descriptor which a program was
// not started with: the number may by now be one of the program's own.
func Inherited(dest string) error {
	fd, ok, err := descriptor(dest)
	if !ok || err != nil {
		return err
	}
	// What came through an exec cannot be marked; what Go opens always is.
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err == nil && flags&unix.FD_CLOEXEC != 0 {
		err = unix.EBADF
	}
	if err != nil {
		return reportError(dest, fmt.Errorf("descriptor %d is not open: %w", fd, err))
	}
	return nil
}

// OpenReport opens a destination: a path, "fd:N", or "-" for standard output.
// A path that is a symbolic link is refused, because a job may have left it in
// a directory that it was allowed to write.
func OpenReport(dest string) (*Report, error) {
	if fd, ok, err := descriptor(dest); ok || err != nil {
		if err == nil {
			err = writable(fd)
		}
		if err != nil {
			return nil, reportError(dest, err)
		}
		return &Report{dest: dest, fd: fd}, nil
	}
	r, err := openPath(dest)
	if err != nil {
		return nil, reportError(dest, err)
	}
	return r, nil
}

func reportError(dest string, err error) error {
	return fmt.Errorf("write the result to %s: %w", strconv.Quote(dest), err)
}

// descriptor also knows the names that a shell or script gives to descriptors:
// renaming a file over those would be wrong.
func descriptor(dest string) (fd int, ok bool, err error) {
	switch dest {
	case "-", "/dev/stdout":
		return 1, true, nil
	case "/dev/stderr":
		return 2, true, nil
	}
	for _, prefix := range []string{"fd:", "/dev/fd/", "/proc/self/fd/"} {
		if n, found := strings.CutPrefix(dest, prefix); found {
			v, err := strconv.ParseUint(n, 10, 31)
			if err != nil {
				return -1, false, fmt.Errorf("%q is no descriptor number; use fd:3 or a file's path", n)
			}
			return int(v), true, nil
		}
	}
	return -1, false, nil
}

func writable(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("descriptor %d is not open: %w", fd, err)
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return fmt.Errorf("descriptor %d is open for reading only: %w", fd, unix.EBADF)
	}
	return nil
}

func openPath(dest string) (*Report, error) {
	if dest == "" || strings.HasSuffix(dest, "/") {
		return nil, errors.New("no file name; use a file's path, fd:N or -")
	}
	dirName, name := filepath.Split(dest)
	if dirName == "" {
		dirName = "."
	}
	dir, err := unix.Open(dirName, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("its directory: %w", err)
	}
	r := &Report{dest: dest, fd: dir, own: true, name: name}
	var st unix.Stat_t
	err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		err = r.dirWritable()
	case err != nil:
	case st.Mode&unix.S_IFMT == unix.S_IFREG:
		r.mode = st.Mode & 0o777
		err = r.dirWritable()
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		err = fmt.Errorf("it is a symbolic link (%w); name the file itself", unix.ELOOP)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = fmt.Errorf("%w; name a file in it", unix.EISDIR)
	default:
		// A FIFO waits here for its reader, as with a shell's redirection.
		var fd int
		fd, err = unix.Openat(dir, name, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NOFOLLOW, 0)
		if err == nil {
			_ = unix.Close(dir)
			return &Report{dest: dest, fd: fd, own: true}, nil
		}
	}
	if err != nil {
		_ = unix.Close(dir)
		return nil, err
	}
	return r, nil
}

func (r *Report) dirWritable() error {
	if err := unix.Faccessat(r.fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("a file has to be created in its directory: %w", err)
	}
	return nil
}

// WriteResult writes the result's JSON form and a newline.
func (r *Report) WriteResult(res *Result) error {
	b, err := res.MarshalJSON()
	if err != nil {
		return reportError(r.dest, err)
	}
	return r.write(append(b, '\n'))
}

// WriteMeta writes the meta file of ioi/isolate.
func (r *Report) WriteMeta(res *Result) error { return r.write(appendMeta(nil, res)) }

// Close gives the destination's descriptor back; the caller's own ones are
// left open.
func (r *Report) Close() error {
	if !r.own || r.fd < 0 {
		return nil
	}
	fd := r.fd
	r.fd = -1
	return unix.Close(fd)
}

func (r *Report) write(b []byte) error {
	err := error(nil)
	if r.name == "" {
		err = writeAll(r.fd, b)
	} else {
		err = r.replace(b)
	}
	if err != nil {
		return reportError(r.dest, err)
	}
	return nil
}

// replace writes a file without a name and gives it one when it is whole.
// Whatever goes wrong, nothing of it stays behind, not even where brig is killed
// while it writes, and an older file keeps its content. Only a rename can take
// an older file's place; then, and where the file system has no files without a
// name, another name comes first.
func (r *Report) replace(b []byte) error {
	var random [8]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return err
	}
	temp := ".brig-" + strconv.FormatUint(binary.NativeEndian.Uint64(random[:]), 16) + ".tmp"
	fd, err := unix.Openat(r.fd, ".", unix.O_WRONLY|unix.O_TMPFILE|unix.O_CLOEXEC, 0o666)
	nameless := err == nil
	if !nameless {
		fd, err = unix.Openat(r.fd, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
	}
	if err != nil {
		return err
	}
	err = writeAll(fd, b)
	if r.mode != 0 && err == nil {
		err = unix.Fchmod(fd, r.mode)
	}
	named := !nameless
	if nameless && err == nil {
		self := "/proc/self/fd/" + strconv.Itoa(fd)
		err = unix.Linkat(unix.AT_FDCWD, self, r.fd, r.name, unix.AT_SYMLINK_FOLLOW)
		if errors.Is(err, unix.EEXIST) {
			err = unix.Linkat(unix.AT_FDCWD, self, r.fd, temp, unix.AT_SYMLINK_FOLLOW)
			named = err == nil
		}
	}
	// Some file systems report a full disk or quota only here.
	if closeErr := unix.Close(fd); err == nil {
		err = closeErr
	}
	if named && err == nil {
		err = unix.Renameat(r.fd, temp, r.fd, r.name)
	}
	if named && err != nil {
		_ = unix.Unlinkat(r.fd, temp, 0)
	}
	return err
}

// writeAll copes with a descriptor that somebody else made non-blocking.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			if _, err := unix.Poll(p, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		case err != nil:
			return err
		default:
			b = b[n:]
		}
	}
	return nil
}

// WriteResult opens a destination and writes the result to it. Where the job
// could write the destination's directory, use OpenReport before its start.
func WriteResult(dest string, res *Result) error { return writeOnce(dest, res, (*Report).WriteResult) }

// WriteMeta is WriteResult for the meta file of ioi/isolate.
func WriteMeta(dest string, res *Result) error { return writeOnce(dest, res, (*Report).WriteMeta) }

func writeOnce(dest string, res *Result, write func(*Report, *Result) error) error {
	r, err := OpenReport(dest)
	if err != nil {
		return err
	}
	err = write(r, res)
	if closeErr := r.Close(); err == nil && closeErr != nil {
		err = reportError(dest, closeErr)
	}
	return err
}
