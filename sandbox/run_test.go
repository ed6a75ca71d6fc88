package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// job is a spec under the strict policy with all CPUs, so that its filter is a
// shipped one.
func job(t testing.TB, args ...string) *sandbox.Spec {
	t.Helper()
	sandboxtest.Need(t, "userns", "seccomp")
	p := shipped(t, "strict")
	p.Limits.CPUs = policy.Unlimited
	spec := sandbox.NewSpec(p, args...)
	spec.Filter = configs.Filter
	return spec
}

func run(t testing.TB, spec *sandbox.Spec) *sandbox.Result {
	t.Helper()
	r, err := sandbox.Run(context.Background(), spec)
	if err != nil {
		t.Fatalf("%v (%+v)", err, r)
	}
	return r
}

func TestRunStreams(t *testing.T) {
	spec := job(t, "sh", "-c", `cat; echo err >&2; printf '%s\n' "$0" "$@"`, "a b", "", "\xff")
	sandboxtest.Leaks(t)
	var out, errs strings.Builder
	spec.Stdin, spec.Stdout, spec.Stderr = strings.NewReader("in\n"), &out, &errs
	r := run(t, spec)
	if r.Outcome != sandbox.OutcomeOK || out.String() != "in\na b\n\n\xff\n" || errs.String() != "err\n" {
		t.Errorf("%s: %q %q", r.Outcome, out.String(), errs.String())
	}
	if r.Usage.OutputBytes != sandbox.Amount(out.Len()+errs.Len()) || r.PlanDigest == "" || r.StartedAt.Location() != time.UTC {
		t.Errorf("%+v", r)
	}
}

// Without streams the job has the null device, and the caller's own are not
// touched.
func TestRunWithoutStreams(t *testing.T) {
	spec := job(t, "sh", "-c", `[ "$(cat | wc -c)" = 0 ] && echo lost && readlink /proc/self/fd/0 | grep -qx /dev/null`)
	if r := run(t, spec); r.Outcome != sandbox.OutcomeOK {
		t.Errorf("%s: %s", r.Outcome, r.Message)
	}
}

func TestRunOutcomes(t *testing.T) {
	sandboxtest.Leaks(t)
	tests := []struct {
		script  string
		change  func(*policy.Policy)
		outcome sandbox.Outcome
		code    int
	}{
		{"exit 0", nil, sandbox.OutcomeOK, 0},
		{"exit 7", nil, sandbox.OutcomeExit, 7},
		{"exit 137", nil, sandbox.OutcomeExit, 137},
		{"kill -SEGV $$", nil, sandbox.OutcomeSignal, 139},
		{"kill -KILL $$", nil, sandbox.OutcomeSignal, 137},
		{"sleep 60", func(p *policy.Policy) { p.Limits.WallTime = policy.Duration(50 * time.Millisecond) }, sandbox.OutcomeWallLimit, 124},
		{"while :; do :; done", func(p *policy.Policy) { p.Limits.CPUTime = policy.Duration(100 * time.Millisecond) }, sandbox.OutcomeTimeLimit, 124},
		{"sleep 1000 & exit 3", nil, sandbox.OutcomeExit, 3},
	}
	for _, tt := range tests {
		t.Run(tt.script, func(t *testing.T) {
			spec := job(t, "sh", "-c", tt.script)
			if tt.change != nil {
				tt.change(spec.Policy)
			}
			start := time.Now()
			r := run(t, spec)
			if r.Outcome != tt.outcome || r.ExitCode() != tt.code {
				t.Errorf("%s with %d (%s), want %s with %d", r.Outcome, r.ExitCode(), r.Message, tt.outcome, tt.code)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// A command that does not start is brig's failure, with the shells' codes.
func TestRunNotStarted(t *testing.T) {
	sandboxtest.Leaks(t)
	for name, code := range map[string]int{"no-such-program": 127, "/usr": 126, "./nothing": 127} {
		spec := job(t, name)
		r, err := sandbox.Run(context.Background(), spec)
		if r == nil || r.Outcome != sandbox.OutcomeError || r.ExitCode() != code {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	spec := job(t, "true")
	spec.Hostname = ""
	r, err := sandbox.Run(context.Background(), spec)
	if !errors.Is(err, &sandbox.Error{Code: sandbox.CodeBadSpec}) || r == nil || r.ExitCode() != 125 || r.Outcome != sandbox.OutcomeError {
		t.Errorf("a bad spec: %+v, %v", r, err)
	}
}

// The cap is exact, for both streams together, and what was printed up to it
// is whole.
func TestOutputCap(t *testing.T) {
	sandboxtest.Leaks(t)
	for _, limit := range []int{0, 1, 4096, 65537, 300000} {
		spec := job(t, "sh", "-c", "yes 1234567")
		spec.Policy.Limits.Output = policy.Size(limit)
		var out bytes.Buffer
		spec.Stdout = &out
		r := run(t, spec)
		if r.Outcome != sandbox.OutcomeOutputLimit || out.Len() != limit || r.Usage.OutputBytes != sandbox.Amount(limit) || r.ExitCode() != 153 {
			t.Errorf("limit %d: %s with %d bytes, %d counted", limit, r.Outcome, out.Len(), r.Usage.OutputBytes)
		}
		if want := strings.Repeat("1234567\n", limit/8+1)[:limit]; out.String() != want {
			t.Errorf("limit %d: the output is not what was printed", limit)
		}
	}
	spec := job(t, "sh", "-c", "printf 1234; printf 5678 >&2")
	spec.Policy.Limits.Output = 8
	spec.Stdout, spec.Stderr = io.Discard, io.Discard
	if r := run(t, spec); r.Outcome != sandbox.OutcomeOK {
		t.Errorf("output of just the limit: %s", r.Outcome)
	}
	spec = job(t, "sh", "-c", "printf 1234; printf 56789 >&2; sleep 60")
	spec.Policy.Limits.Output = 8
	spec.Stdout, spec.Stderr = io.Discard, io.Discard
	if r := run(t, spec); r.Outcome != sandbox.OutcomeOutputLimit || r.Usage.OutputBytes != 8 {
		t.Errorf("one byte more: %s, %d", r.Outcome, r.Usage.OutputBytes)
	}
}

// lines hands on what a job prints, line by line.
func lines(t *testing.T, spec *sandbox.Spec) <-chan string {
	t.Helper()
	r, w := io.Pipe()
	spec.Stdout = w
	t.Cleanup(func() { w.Close() })
	ch := make(chan string, 100)
	go func() {
		defer close(ch)
		var line []byte
		b := make([]byte, 1)
		for {
			if _, err := r.Read(b); err != nil {
				return
			}
			if line = append(line, b[0]); b[0] == '\n' {
				ch <- string(line)
				line = nil
			}
		}
	}()
	return ch
}

func TestSignal(t *testing.T) {
	spec := job(t, "sh", "-c", `trap 'echo got; exit 5' USR1; echo up; while :; do sleep 0.01; done`)
	out := lines(t, spec)
	s, err := sandbox.Start(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if line := <-out; line != "up\n" {
		t.Fatalf("got %q", line)
	}
	if err := s.Signal(unix.SIGUSR1); err != nil {
		t.Error(err)
	}
	if line := <-out; line != "got\n" {
		t.Errorf("got %q", line)
	}
	r, err := s.Wait()
	if err != nil || r.Outcome != sandbox.OutcomeExit || r.ExitCode() != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := s.Signal(unix.SIGUSR1); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after the end: %v", err)
	}
	if again, err := s.Wait(); again != r || err != nil {
		t.Errorf("the second Wait: %p %v, the first %p", again, err, r)
	}
	s.Kill() // after the end it does nothing
}

func TestKill(t *testing.T) {
	spec := job(t, "sh", "-c", `trap "" TERM INT; echo up; while :; do sleep 0.01; done`)
	sandboxtest.Leaks(t)
	out := lines(t, spec)
	s, err := sandbox.Start(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	<-out
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(s.Kill)
	}
	r, err := s.Wait()
	wg.Wait()
	if err != nil || r.Outcome != sandbox.OutcomeCancelled || r.Signal == nil || r.Signal.Name != "SIGTERM" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestKillAtOnce(t *testing.T) {
	sandboxtest.Leaks(t)
	for range 20 {
		s, err := sandbox.Start(context.Background(), job(t, "sleep", "60"))
		if err != nil {
			t.Fatal(err)
		}
		s.Kill()
		if r, err := s.Wait(); err != nil || r.Outcome != sandbox.OutcomeCancelled {
			t.Fatalf("%+v, %v", r, err)
		}
	}
}

func TestContext(t *testing.T) {
	sandboxtest.Leaks(t)
	ended, end := context.WithCancel(context.Background())
	end()
	soon, done := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer done()
	bySignal, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(50*time.Millisecond, func() { cancel(&sandbox.Cancelled{Signal: unix.SIGINT}) })
	for name, tt := range map[string]struct {
		ctx    context.Context
		signal string
		code   int
	}{
		"before the start": {ended, "SIGTERM", 143}, "deadline": {soon, "SIGTERM", 143}, "signal": {bySignal, "SIGINT", 130},
	} {
		start := time.Now()
		spec := job(t, "sleep", "60")
		spec.Policy.User.Map = policy.MapSingle // no helper runs that would be cancelled first
		r, err := sandbox.Run(tt.ctx, spec)
		if err != nil || r.Outcome != sandbox.OutcomeCancelled || r.Signal == nil || r.Signal.Name != tt.signal || r.ExitCode() != tt.code {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

// A caller that takes nothing, or stops giving, does not keep a sandbox alive.
func TestStuckStreams(t *testing.T) {
	sandboxtest.Leaks(t)
	spec := job(t, "cat")
	in, w := io.Pipe() // nobody writes
	spec.Stdin = in
	spec.Policy.Limits.WallTime = policy.Duration(100 * time.Millisecond)
	r := run(t, spec)
	w.Close()
	if r.Outcome != sandbox.OutcomeWallLimit {
		t.Errorf("stuck input: %s", r.Outcome)
	}
	spec = job(t, "sh", "-c", "cat >/dev/null; exit 4")
	spec.Stdin = brokenStream{}
	if r, err := sandbox.Run(context.Background(), spec); r.Outcome != sandbox.OutcomeExit || r.ExitCode() != 4 {
		t.Errorf("input that fails: %+v, %v", r, err)
	}
	spec = job(t, "yes")
	spec.Stdout = brokenStream{}
	if r, err := sandbox.Run(context.Background(), spec); err == nil || r == nil {
		t.Errorf("output that fails: %+v, %v", r, err)
	}
}

type brokenStream struct{}

func (brokenStream) Read([]byte) (int, error)  { return 0, errors.New("broken") }
func (brokenStream) Write([]byte) (int, error) { return 0, errors.New("broken") }

// Many sandboxes at once, from one process: each has its own output, id and end.
func TestParallel(t *testing.T) {
	job(t, "true") // skips here
	sandboxtest.Leaks(t)
	const jobs = 20
	var wg sync.WaitGroup
	for i := range jobs {
		wg.Go(func() {
			spec := job(t, "sh", "-c", fmt.Sprintf(`read x; echo "%d $x $$"; exit %d`, i, i))
			var out strings.Builder
			spec.Stdin, spec.Stdout = strings.NewReader(fmt.Sprintf("in%d\n", i)), &out
			r, err := sandbox.Run(context.Background(), spec)
			if err != nil || r.ExitCode() != i || out.String() != fmt.Sprintf("%d in%d 2\n", i, i) {
				t.Errorf("job %d: %+v, %v, %q", i, r, err, out.String())
			}
		})
	}
	wg.Wait()
}

// The job cannot change the file that is its input, nor see where it lies.
func TestInputIsNotTheFile(t *testing.T) {
	spec := job(t, "sh", "-c", `read x; echo changed > /proc/self/fd/0; readlink /proc/self/fd/0 | cut -c1-5; echo $x`)
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("mine\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	spec.Stdin, spec.Stdout = f, &out
	run(t, spec)
	if got, err := os.ReadFile(f.Name()); err != nil || string(got) != "mine\n" || out.String() != "pipe:\nmine\n" {
		t.Errorf("the file holds %q (%v), the job saw %q", got, err, out.String())
	}
}
