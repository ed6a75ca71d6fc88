package userns

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// toolDirs are where distributions put set-uid tools, looked at before PATH,
// which the caller's environment controls. NixOS has the set-uid copies of its
// tools in /run/wrappers/bin and plain ones in PATH.
var toolDirs = [...]string{"/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"}

// eachToolPath calls use with each place where name may be until it returns true.
func eachToolPath(name string, use func(path string) bool) {
	for _, dir := range toolDirs {
		if use(dir + "/" + name) {
			return
		}
	}
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		// A relative entry would mean whatever directory the job's files are in.
		if strings.HasPrefix(dir, "/") && use(strings.TrimRight(dir, "/")+"/"+name) {
			return
		}
	}
}

// findTool returns the path of an executable, or "".
func findTool(name string) (found string) {
	eachToolPath(name, func(path string) bool {
		if isExecutable(path) {
			found = path
		}
		return found != ""
	})
	return found
}

func isExecutable(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Access(path, unix.X_OK) == nil
}

// sink collects a program's output: a file in memory that the kernel does not
// let grow past its size. Unlike a pipe it needs neither a goroutine nor a
// reader to keep the program from blocking.
type sink struct{ file *os.File }

func newSink(size int64) (sink, error) {
	fd, err := unix.MemfdCreate("brig-tool-output", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return sink{}, fmt.Errorf("memfd_create: %w", err)
	}
	s := sink{os.NewFile(uintptr(fd), "output")}
	if err := unix.Ftruncate(fd, size); err != nil {
		s.close()
		return sink{}, fmt.Errorf("ftruncate: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err != nil {
		s.close()
		return sink{}, fmt.Errorf("seal: %w", err)
	}
	return s, nil
}

// text returns what was written, without white space at the ends.
func (s sink) text(size int) string {
	buf := make([]byte, size)
	n, _ := s.file.ReadAt(buf, 0) // a short read ends the text
	buf, _, _ = bytes.Cut(buf[:n], []byte{0})
	return strings.TrimSpace(string(buf))
}

func (s sink) close() { _ = s.file.Close() }

// Output is cut off at these sizes, in bytes.
const (
	maxStdout = 64 << 10
	maxStderr = 4 << 10
)

// running is a started tool.
type running struct {
	path           string
	process        *os.Process
	stdout, stderr sink
	stop           func() bool // detaches the context
}

// startTool starts a program with standard input and output /dev/null, or the
// output kept if wanted, and an environment of its own: the tools' messages
// are compared, so they must not be translated, and nothing of the caller's
// environment belongs in a set-uid program.
func startTool(ctx context.Context, null *os.File, keepStdout bool, path string, args ...string) (*running, error) {
	r := &running{path: path}
	var err error
	if r.stderr, err = newSink(maxStderr); err != nil {
		return nil, err
	}
	out := null
	if keepStdout {
		if r.stdout, err = newSink(maxStdout); err != nil {
			r.stderr.close()
			return nil, err
		}
		out = r.stdout.file
	}
	r.process, err = os.StartProcess(path, append([]string{path}, args...), &os.ProcAttr{
		Env:   []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []*os.File{null, out, r.stderr.file},
	})
	if err != nil {
		r.close()
		return nil, err
	}
	// The real uid of a set-uid program is still the caller's, so it can be killed.
	r.stop = context.AfterFunc(ctx, func() { _ = r.process.Kill() })
	return r, nil
}

// wait returns the exit state, what was kept of the output, and what the
// program said on standard error.
func (r *running) wait(ctx context.Context) (state *os.ProcessState, stdout, stderr string, err error) {
	defer r.close()
	state, err = r.process.Wait()
	if !r.stop() && ctx.Err() != nil {
		return nil, "", "", fmt.Errorf("%s: %w", r.path, context.Cause(ctx))
	}
	if err != nil {
		return nil, "", "", fmt.Errorf("waiting for %s: %w", r.path, err)
	}
	if r.stdout.file != nil {
		stdout = r.stdout.text(maxStdout)
	}
	if !state.Success() {
		stderr = r.stderr.text(maxStderr)
	}
	return state, stdout, stderr, nil
}

func (r *running) close() {
	r.stderr.close()
	if r.stdout.file != nil {
		r.stdout.close()
	}
}

func openNull() (*os.File, error) { return os.OpenFile(os.DevNull, os.O_RDWR, 0) }
