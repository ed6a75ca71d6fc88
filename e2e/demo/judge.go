package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/sandbox"
)

// The verdicts of a judge.
const (
	accepted     = "AC"
	wrongAnswer  = "WA"
	timeLimit    = "TLE"
	memoryLimit  = "MLE"
	outputLimit  = "OLE"
	runtimeError = "RE"
	compileError = "CE"
)

// submission is one program handed in. Its first lines say which verdicts it
// should get, up to the first that is not "accepted".
type submission struct {
	name   string // the file's
	expect []string
	dir    string // holds nothing but it and what the compiler makes
	args   []string
}

// judgeSubmissions compiles each submission and runs it on the tests until one
// fails.
func (d *demo) judgeSubmissions() error {
	flags, err := d.judgeFlags()
	if err != nil {
		return err
	}
	tests, err := d.tests()
	if err != nil {
		return err
	}
	list, err := d.submissions()
	if err != nil {
		return err
	}
	d.out.section("Submissions: how many pairs of a sequence are out of order?",
		"brig run --policy compile -- g++ -O2 -o merge merge.cpp",
		"brig run "+shell(flags...)+" --result r.json --stdin 1-sample.in --stdout out -- ./merge")
	widths := []int{12, 10, 7, -8, -10}
	d.out.row(widths, "submission", "test", "verdict", "CPU", "memory", "evidence")
	for _, s := range list {
		if err := d.judge(s, tests, flags, widths); err != nil {
			return err
		}
	}
	return nil
}

// judgeFlags are those of every run on a test. The policy judge wants
// subordinate ids; where the caller has none the demo says so and goes on with
// the caller's one id.
func (d *demo) judgeFlags() ([]string, error) {
	flags := []string{"--policy", "judge"}
	_, err := d.runJob(job{dir: d.dir, flags: flags, command: []string{"true"}})
	if err == nil {
		return flags, nil
	}
	d.judgeMap = []string{"--userns", "single"}
	weaker := append(flags, d.judgeMap...)
	if _, again := d.runJob(job{dir: d.dir, flags: weaker, command: []string{"true"}}); again != nil {
		return nil, err
	}
	d.out.printf("\nThe policy judge cannot be used whole here:\n%s\nIt is used with --userns single.\n", strings.TrimSpace(err.Error()))
	return weaker, nil
}

func (d *demo) submissions() ([]submission, error) {
	var list []submission
	for _, pattern := range []string{"*.cpp", "*.c", "*.py"} {
		files, err := filepath.Glob(filepath.Join(d.dir, "submissions", pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			s, err := d.layOut(file)
			if err != nil {
				return nil, err
			}
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no submissions")
	}
	return list, nil
}

// layOut gives a submission a directory of its own, since the compiler may
// write to all of it.
func (d *demo) layOut(file string) (submission, error) {
	s := submission{name: filepath.Base(file)}
	text, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	_, after, found := strings.Cut(string(text), "expect: ")
	if !found {
		return s, fmt.Errorf("%s does not say what verdicts it expects", s.name)
	}
	line, _, _ := strings.Cut(after, "\n")
	s.expect = strings.Fields(strings.TrimSuffix(line, "*/"))
	extension := filepath.Ext(s.name)
	program := strings.TrimSuffix(s.name, extension)
	s.dir = filepath.Join(d.dir, "judge", program)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s, err
	}
	switch extension {
	case ".c":
		s.args = []string{"gcc", "-O2", "-o", program, s.name}
	case ".cpp":
		s.args = []string{"g++", "-O2", "-o", program, s.name}
	case ".py":
		s.args = []string{"python3", "-m", "py_compile", s.name}
	}
	return s, os.WriteFile(filepath.Join(s.dir, s.name), text, 0o755)
}

// program is what runs on the tests.
func (s submission) program() string {
	if strings.HasSuffix(s.name, ".py") {
		return "./" + s.name
	}
	return "./" + strings.TrimSuffix(s.name, filepath.Ext(s.name))
}

// judge compiles a submission and runs it on the tests until one fails.
func (d *demo) judge(s submission, tests []test, flags []string, widths []int) error {
	compiled, err := d.runJob(job{dir: s.dir, flags: []string{"--policy", "compile"}, command: s.args})
	if err != nil {
		return err
	}
	var got []string
	if compiled.Outcome != sandbox.OutcomeOK {
		got = []string{compileError}
		d.out.row(widths, s.name, "-", d.out.red(compileError), compiled.cpu(), compiled.memory(), firstError(compiled.stderr))
	}
	name := s.name
	for _, t := range tests {
		if len(got) > 0 && got[len(got)-1] != accepted {
			break
		}
		ended, verdict, evidence, err := d.onTest(s, t, flags)
		if err != nil {
			return err
		}
		got = append(got, verdict)
		shown := d.out.green(verdict)
		if verdict != accepted {
			shown = d.out.red(verdict)
		}
		d.out.row(widths, name, t.name, shown, ended.cpu(), ended.memory(), evidence)
		name = ""
	}
	if !slices.Equal(got, s.expect) {
		d.wrong("%s: got %s, expected %s", s.name, strings.Join(got, " "), strings.Join(s.expect, " "))
	}
	return nil
}

// onTest runs a submission on one test and compares.
func (d *demo) onTest(s submission, t test, flags []string) (*finished, string, string, error) {
	in, err := os.Open(t.input)
	if err != nil {
		return nil, "", "", err
	}
	defer in.Close()
	f, err := d.runJob(job{dir: s.dir, flags: flags, command: []string{s.program()}, stdin: in})
	if err != nil {
		return nil, "", "", fmt.Errorf("%s on %s: %w", s.name, t.name, err)
	}
	verdict, evidence := f.verdict(t.want)
	return f, verdict, evidence, nil
}

// verdict is the judge's word on a run that should have printed want.
func (f *finished) verdict(want string) (verdict, evidence string) {
	switch f.Outcome {
	case sandbox.OutcomeOK:
		if bytes.Equal(bytes.TrimSpace([]byte(f.stdout)), []byte(want)) {
			return accepted, ""
		}
		return wrongAnswer, fmt.Sprintf("printed %s, not %s", firstLine(f.stdout), want)
	case sandbox.OutcomeTimeLimit, sandbox.OutcomeWallLimit:
		return timeLimit, f.Message
	case sandbox.OutcomeMemoryLimit:
		return memoryLimit, f.Message
	case sandbox.OutcomeOutputLimit:
		return outputLimit, f.Message
	case sandbox.OutcomeExit, sandbox.OutcomeSignal, sandbox.OutcomeProcessLimit, sandbox.OutcomeFileLimit,
		sandbox.OutcomeSyscallDenied, sandbox.OutcomeCancelled, sandbox.OutcomeError:
	}
	return runtimeError, f.Message
}

// firstError is the line in which a compiler says what is wrong.
func firstError(text string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "rror") {
			return clip(strings.TrimSpace(line))
		}
	}
	return clip(firstLine(text))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return clip(sandbox.SafeText(line))
}

// clip shortens what would not fit into a line.
func clip(text string) string {
	const most = 90
	if r := []rune(text); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return text
}
