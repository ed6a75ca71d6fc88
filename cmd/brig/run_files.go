package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox"
)

// maxEnvFile bounds an environment file.
const maxEnvFile = 1 << 20

// readEnvFile reads docker's format: NAME=VALUE a line, NAME alone for the
// caller's own value, and comments after a # at the start of a line.
func readEnvFile(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--env-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil {
		return nil, fmt.Errorf("--env-file: %w", err)
	}
	if len(text) > maxEnvFile {
		return nil, fmt.Errorf("--env-file %s: more than %d bytes\n  fix: name a smaller file", sandbox.SafeText(name), maxEnvFile)
	}
	var vars []string
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSuffix(strings.TrimLeft(line, " \t"), "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		bad := func(problem, fix string) error {
			return fmt.Errorf("%s:%d: %s: %s\n  fix: %s", sandbox.SafeText(name), i+1, problem, sandbox.SafeText(line), fix)
		}
		if strings.ContainsRune(line, 0) {
			return nil, bad("a NUL byte", "remove it: the kernel ends strings there")
		}
		if !utf8.ValidString(line) {
			return nil, bad("not UTF-8", "save the file as UTF-8")
		}
		if variable, _, _ := strings.Cut(line, "="); variable == "" || strings.ContainsAny(variable, " \t") {
			return nil, bad("no variable's name before the =", "write NAME=VALUE")
		}
		vars = append(vars, line)
	}
	return vars, nil
}

// streams are the files opened for the job's standard streams.
type streams struct {
	files []*os.File
}

func (s *streams) close() {
	for _, f := range s.files {
		f.Close()
	}
}

// err is the first error of closing what was written: on some file systems a
// full disk is only told then.
func (s *streams) err() error {
	var first error
	for _, f := range s.files {
		if err := f.Close(); err != nil && first == nil && !errors.Is(err, os.ErrClosed) {
			first = err
		}
	}
	s.files = nil
	return first
}

// openStreams connects the spec's streams.
func (f *runFlags) openStreams(spec *sandbox.Spec) (*streams, error) {
	s := &streams{}
	stdinTTY := isTerminal(os.Stdin)
	if f.tty {
		if !stdinTTY {
			return s, errors.New("the input device is not a TTY\n  fix: leave -t out, or run brig from a terminal")
		}
		if f.stdin != "" || f.stdout != "" || f.stderr != "" {
			return s, errors.New("-t connects the job's streams to the terminal\n  fix: leave out --stdin, --stdout and --stderr")
		}
		spec.Terminal, spec.Stdout = os.Stdin, os.Stdout
		return s, nil
	}
	if !stdinTTY || f.interactive {
		spec.Stdin = os.Stdin
	}
	if !f.noOutput {
		spec.Stdout, spec.Stderr = os.Stdout, os.Stderr
	}
	if err := s.open(f, spec); err != nil {
		s.close()
		return s, err
	}
	return s, nil
}

func (s *streams) open(f *runFlags, spec *sandbox.Spec) error {
	if f.stdin != "" {
		in, err := os.Open(f.stdin)
		if err != nil {
			return fmt.Errorf("--stdin: %w", err)
		}
		s.files = append(s.files, in)
		spec.Stdin = in
	}
	create := func(flag, name string) (*os.File, error) {
		out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		s.files = append(s.files, out)
		return out, nil
	}
	if f.stdout != "" {
		out, err := create("stdout", f.stdout)
		if err != nil {
			return err
		}
		spec.Stdout = out
	}
	switch {
	case f.stderr != "" && f.stderr == f.stdout:
		spec.Stderr = spec.Stdout
	case f.stderr != "":
		out, err := create("stderr", f.stderr)
		if err != nil {
			return err
		}
		spec.Stderr = out
	}
	return nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// reports are the files that --result and --meta name. They are opened before
// the job runs, so that a wrong name costs no run.
type reports struct {
	result, meta *sandbox.Report
}

func (f *runFlags) openReports() (*reports, error) {
	r := &reports{}
	for flag, name := range map[string]string{"--result": f.result, "--meta": f.meta} {
		if name == "-" && f.stdout == "" {
			return nil, fmt.Errorf("%s - needs --stdout FILE: the job must not share the stream\n  fix: name a file for one of them", flag)
		}
		if err := sandbox.Inherited(name); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
	}
	var err error
	if f.result != "" {
		if r.result, err = sandbox.OpenReport(f.result); err != nil {
			return nil, fmt.Errorf("--result: %w", err)
		}
	}
	if f.meta != "" {
		if r.meta, err = sandbox.OpenReport(f.meta); err != nil {
			r.close()
			return nil, fmt.Errorf("--meta: %w", err)
		}
	}
	return r, nil
}

// write writes the reports; without a result, one that tells of the error.
func (r *reports) write(result *sandbox.Result, cause error) error {
	if result == nil {
		result = sandbox.Failed(cause)
	}
	var errs []error
	if r.result != nil {
		errs = append(errs, r.result.WriteResult(result))
	}
	if r.meta != nil {
		errs = append(errs, r.meta.WriteMeta(result))
	}
	return errors.Join(errs...)
}

func (r *reports) close() {
	for _, f := range []*sandbox.Report{r.result, r.meta} {
		if f != nil {
			_ = f.Close()
		}
	}
}
