package seccomp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// CompilerName is the program that compiles filters. It links libseccomp, brig
// does not.
const CompilerName = "brig-filterc"

// compileTimeout bounds a run of the compiler, which takes a few milliseconds.
const compileTimeout = 10 * time.Second

// ErrNoCompiler is wrapped when a filter has to be compiled and brig-filterc is
// not installed.
var ErrNoCompiler = errors.New(CompilerName + " is not installed")

// Request is what the compiler reads: JSON, with unknown keys refused.
type Request struct {
	Settings Settings
	Options  Options
	Arch     string
}

// maxRequest bounds a request in bytes.
const maxRequest = 1 << 20

// ReadRequest reads one request and nothing after it.
func ReadRequest(r io.Reader) (Request, error) {
	var req Request
	dec := json.NewDecoder(io.LimitReader(r, maxRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return req, fmt.Errorf("reading the request: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return req, errors.New("reading the request: something follows it")
	}
	return req, nil
}

// compile runs brig-filterc and verifies what it returns.
func (l *Loader) compile(ctx context.Context, p *Profile, r Request) (*Compiled, error) {
	path := l.Compiler
	if path == "" {
		found, err := findCompiler()
		if err != nil {
			return nil, err
		}
		path = found
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing the request for %s: %w", CompilerName, err)
	}
	ctx, cancel := context.WithTimeout(ctx, compileTimeout)
	defer cancel()
	var stderr, stdout bounded
	stderr.left, stdout.left = 4<<10, maxEncoded
	stderr.full, stdout.full = cancel, cancel
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(body), &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if stdout.over || stderr.over {
			err = errors.New("it writes without end")
		}
		return nil, fmt.Errorf("compiling the system call filter with %s: %w%s", path, err, after(stderr.buf.String()))
	}
	c, err := decode(stdout.buf.Bytes(), p.Key, p.Arch)
	if err == nil {
		err = Verify(p, c)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not of this brig's build: %w", path, err)
	}
	return c, nil
}

// after is ": text", or nothing.
func after(text string) string {
	if text = strings.TrimSpace(text); text != "" {
		return ": " + text
	}
	return ""
}

// bounded keeps what is written up to a number of bytes. Past it, full is called
// and writes fail. The buffer is not embedded: io.Copy would use its ReadFrom,
// which knows no bound.
type bounded struct {
	buf  bytes.Buffer
	left int
	full func()
	over bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.over = true
		b.full()
		return 0, errors.New("too much output")
	}
	b.left -= len(p)
	return b.buf.Write(p)
}

// findCompiler looks beside brig and where packages install it, never along
// PATH: who can put a program there could choose the filter.
func findCompiler() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("%w: brig's own path is unknown: %w", ErrNoCompiler, err)
	}
	here := filepath.Dir(self)
	places := []string{
		filepath.Join(here, CompilerName),
		filepath.Join(here, "..", "libexec", "brig", CompilerName),
		filepath.Join("/usr/local/libexec/brig", CompilerName),
		filepath.Join("/usr/libexec/brig", CompilerName),
	}
	problems := make([]error, 0, len(places))
	for _, path := range places {
		if err := trusted(path); err == nil {
			return path, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return "", fmt.Errorf("%w (looked for %s): install it beside brig, or use a shipped policy's [seccomp] table unchanged%s",
		ErrNoCompiler, strings.Join(places, ", "), after(errorText(problems)))
}

func errorText(errs []error) string {
	if err := errors.Join(errs...); err != nil {
		return err.Error()
	}
	return ""
}

// trusted makes sure that a program belongs to root or the caller and that
// nobody else can change it.
func trusted(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not a program", path)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to uid %d, neither to root nor to you", path, st.Uid)
	case info.Mode()&0o022 != 0:
		return fmt.Errorf("%s can be changed by others (mode %v): chmod go-w %s", path, info.Mode().Perm(), path)
	}
	return nil
}
