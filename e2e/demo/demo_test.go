package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox"
)

func ended(outcome sandbox.Outcome, stdout string) *finished {
	return &finished{Result: sandbox.Result{Outcome: outcome, Message: "why"}, stdout: stdout}
}

func exited(code int, stdout string) *finished {
	f := ended(sandbox.OutcomeExit, stdout)
	f.Exit = &code
	return f
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		outcome  sandbox.Outcome
		stdout   string
		want     string
		evidence string
	}{
		{sandbox.OutcomeOK, "42\n", accepted, ""},
		{sandbox.OutcomeOK, "41\n", wrongAnswer, "printed 41, not 42"},
		{sandbox.OutcomeOK, "", wrongAnswer, "printed , not 42"},
		{sandbox.OutcomeOK, "\x1b[2J\n", wrongAnswer, `printed \x1b[2J, not 42`},
		// A job that was ended gets no credit for what it had printed by then.
		{sandbox.OutcomeTimeLimit, "42\n", timeLimit, "why"},
		{sandbox.OutcomeWallLimit, "42\n", timeLimit, "why"},
		{sandbox.OutcomeMemoryLimit, "42\n", memoryLimit, "why"},
		{sandbox.OutcomeOutputLimit, "42\n", outputLimit, "why"},
		{sandbox.OutcomeExit, "42\n", runtimeError, "why"},
		{sandbox.OutcomeSignal, "42\n", runtimeError, "why"},
	} {
		verdict, evidence := ended(tt.outcome, tt.stdout).verdict("42")
		if verdict != tt.want || evidence != tt.evidence {
			t.Errorf("%s, printed %q: %s, %q; want %s, %q", tt.outcome, tt.stdout, verdict, evidence, tt.want, tt.evidence)
		}
	}
}

// TestAssess: what is no containment must not pass for one.
func TestAssess(t *testing.T) {
	refuses := attack{program: "x"}
	loops := attack{program: "x", ends: []sandbox.Outcome{sandbox.OutcomeTimeLimit}, held: message}
	floods := attack{program: "x", ends: []sandbox.Outcome{sandbox.OutcomeOutputLimit}, held: outputHeld}
	forks := attack{program: "x", ends: []sandbox.Outcome{sandbox.OutcomeTimeLimit}, held: forksHeld}
	crowded := ended(sandbox.OutcomeTimeLimit, "fork\t11\n")
	crowded.Receipt = []sandbox.Receipt{{Limit: "pids", Peak: 500}}
	for _, tt := range []struct {
		name  string
		a     attack
		f     *finished
		wrong string
	}{
		{"refused", refuses, exited(refusedExit, "mount\t1\n"), ""},
		{"came through", refuses, exited(0, "mount\tok\n"), "not refused everywhere: why"},
		{"crashed before it tried", refuses, ended(sandbox.OutcomeSignal, ""), "not refused everywhere: why"},
		{"failed on its own", refuses, exited(1, ""), "not refused everywhere: why"},
		{"held by its limit", loops, ended(sandbox.OutcomeTimeLimit, ""), ""},
		{"ended by itself", loops, ended(sandbox.OutcomeOK, ""), "ended otherwise: why"},
		{"output cut", floods, ended(sandbox.OutcomeOutputLimit, strings.Repeat("x", hostileOutput)), ""},
		{"output lost", floods, ended(sandbox.OutcomeOutputLimit, "x"), "1 bytes arrived"},
		{"forks refused", forks, ended(sandbox.OutcomeTimeLimit, "fork\t11\n"), ""},
		{"no fork refused", forks, ended(sandbox.OutcomeTimeLimit, ""), "no fork was refused"},
		{"too many processes", forks, crowded, "there were 500 processes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, wrong := tt.a.assess(tt.f, &bait{}); wrong != tt.wrong {
				t.Errorf("wrong: %q, want %q", wrong, tt.wrong)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	const text = "mount\t1\numount\t1\nnoise\nfork\t11\nopened\tok\nwritten\t3 MiB\nodd\t4000\n/a/rather/long/path/of/a/secret\t2\n"
	const want = "EPERM mount, umount; EAGAIN fork; ok opened; 3 MiB written; error 4000 odd; ENOENT .../secret"
	if got := refusals(text); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if unix.ErrnoName(11) != "EAGAIN" {
		t.Error("the numbers above are not this machine's")
	}
}

func TestBaitNotices(t *testing.T) {
	dir := t.TempDir()
	b, err := newBait(dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	check := func(want int64) {
		t.Helper()
		if n, err := b.reached(); n != want || err != nil {
			t.Errorf("reached %d times (%v), want %d", n, err, want)
		}
	}
	if err := b.lay(); err != nil {
		t.Fatal(err)
	}
	check(0)
	dial(t, b)
	check(1)
	if err := b.lay(); err != nil {
		t.Fatal(err)
	}
	check(0)
	if b.dead() {
		t.Error("the process is said to be dead")
	}
	if err := b.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if !eventually(b.dead) {
		t.Error("the process was killed, and nobody noticed")
	}
}

func TestCountTests(t *testing.T) {
	const text = `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"skip","Package":"r"}
`
	tests, packages, failed := countTests(text)
	if tests != 1 || packages != 1 || strings.Join(failed, ",") != "q TestB" {
		t.Errorf("%d tests, %d packages, failed %q", tests, packages, failed)
	}
	if _, _, failed := countTests(text + "not JSON"); len(failed) != 2 {
		t.Errorf("unreadable output was not noticed: %q", failed)
	}
}

func TestColumns(t *testing.T) {
	var b strings.Builder
	p := &printer{w: &b, colour: true}
	p.row([]int{4, -5}, p.red("é"), p.green("1"), "rest")
	if got, want := visible(b.String()), "  é         1  rest\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func dial(t *testing.T, b *bait) {
	t.Helper()
	c, err := net.Dial("unix", "@"+b.token)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func eventually(holds func() bool) bool {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}
