package userns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxAccountFile is the largest passwd, group or nsswitch.conf that is read.
const maxAccountFile = 16 << 20

// maxProcFile is the largest file of /proc that is read.
const maxProcFile = 1 << 20

// etc reads files of the host, or of a test's file system.
type etc struct{ fsys fs.FS } // nil is the host

// read returns a file's content; name has no leading slash. A file that does
// not exist gives fs.ErrNotExist, one larger than limit an error.
func (s etc) read(name string, limit int) ([]byte, error) {
	var data []byte
	var err error
	if s.fsys == nil {
		data, err = readHost("/"+name, limit)
	} else {
		data, err = readFS(s.fsys, name, limit)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &Problem{
			Reason: FileUnreadable, Cause: "reading /" + name, Err: err,
			Fix: fmt.Sprintf("make /%s a file that everybody may read (chmod a+r), smaller than %d bytes", name, limit),
		}
	}
	return data, err
}

// readHost is os.ReadFile with three system calls less: brig reads several
// files before each start.
func readHost(path string, limit int) ([]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 4096)
	for n := 0; ; {
		k, err := retry(func() (int, error) { return unix.Read(fd, buf[n:]) })
		switch {
		case err != nil:
			return nil, err
		case k == 0:
			return buf[:n], nil
		}
		if n += k; n > limit {
			return nil, errTooLarge
		}
		if n == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

var errTooLarge = errors.New("the file is too large")

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func readFS(fsys fs.FS, name string, limit int) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = errTooLarge
	}
	return data, err
}

// userName returns the login name of uid in /etc/passwd, "" if it has none.
// os/user would do the same for more start-up time.
func (s etc) userName(uid uint32) (string, error) {
	data, err := s.read("etc/passwd", maxAccountFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	want := ":" + strconv.FormatUint(uint64(uid), 10) + ":"
	for len(data) > 0 {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte{'\n'})
		if name := passwdLine(line, want); name != "" {
			return name, nil
		}
	}
	return "", nil
}

// passwdLine returns the name of "name:password:uid:..." if ":uid:" is want.
func passwdLine(line []byte, want string) string {
	name, rest, ok := bytes.Cut(line, []byte{':'})
	// + and - begin the compat lines of NIS, which are no users.
	if !ok || len(name) == 0 || name[0] == '+' || name[0] == '-' || name[0] == '#' {
		return ""
	}
	if i := bytes.IndexByte(rest, ':'); i >= 0 && bytes.HasPrefix(rest[i:], []byte(want)) {
		return string(name)
	}
	return ""
}

// accountIDs returns the ids in the third field of passwd or group that lie
// in the pool. Lines without a number there are no accounts: glibc skips them.
func (s etc) accountIDs(name string, pool Range) ([]Range, error) {
	data, err := s.read(name, maxAccountFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var ids []Range
	for len(data) > 0 {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte{'\n'})
		_, rest, _ := bytes.Cut(line, []byte{':'})
		_, rest, _ = bytes.Cut(rest, []byte{':'})
		field, _, _ := bytes.Cut(rest, []byte{':'})
		// Most ids have fewer digits than any in the pool.
		if len(field) < len("2000000000") {
			continue
		}
		if id, err := strconv.ParseUint(string(field), 10, 32); err == nil && pool.contains(uint32(id)) {
			ids = append(ids, Range{uint32(id), 1})
		}
	}
	return ids, nil
}

// subidSource returns the first source of "subid:" in /etc/nsswitch.conf, the
// only one that the shadow tools use; "files" when there is none.
func (s etc) subidSource() (string, error) {
	data, err := s.read("etc/nsswitch.conf", maxAccountFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for len(data) > 0 {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte{'\n'})
		if len(line) < 6 || !strings.EqualFold(string(line[:6]), "subid:") {
			continue
		}
		sources, _, _ := bytes.Cut(line[6:], []byte{'#'})
		if f := strings.Fields(string(sources)); len(f) > 0 {
			return f[0], nil
		}
	}
	return "files", nil
}
