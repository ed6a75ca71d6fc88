package sandbox_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// racer always has another process than was just looked for: each makes its
// successor and ends.
const racer = "r() { r & }; r; r; r; exec sleep 1000"

// begin starts a job that can be frozen.
func begin(t *testing.T, script string) *sandbox.Sandbox {
	t.Helper()
	sandboxtest.Need(t, "userns", "seccomp", "cgroupv2")
	sandboxtest.Leaks(t)
	spec := sandbox.NewSpec(shipped(t, "strict"), "sh", "-c", script)
	spec.Filter = configs.Filter
	s, err := sandbox.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if busy(t, s, 0, 50*time.Millisecond); t.Failed() {
		t.FailNow()
	}
	return s
}

// used is the CPU time of the job so far.
func used(t *testing.T, s *sandbox.Sandbox) time.Duration {
	t.Helper()
	st, err := s.Stats()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	return st.CPU
}

// busy waits until the job has used more than that much above what it had used.
func busy(t *testing.T, s *sandbox.Sandbox, had, more time.Duration) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if used(t, s) > had+more {
			return
		}
	}
	t.Errorf("the job has used %v, and %v before", used(t, s), had)
}

// pause freezes the job and waits until it stands, which is when it uses
// nothing more. It returns what it has used.
func pause(t *testing.T, s *sandbox.Sandbox) time.Duration {
	t.Helper()
	if err := s.Freeze(true); err != nil {
		t.Fatal(err)
	}
	had := used(t, s)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		time.Sleep(200 * time.Millisecond)
		now := used(t, s)
		if now == had {
			return had
		}
		had = now
	}
	t.Fatalf("frozen, the job goes on: %v", had)
	return 0
}

// ended waits for the end of a job that was killed.
func ended(t *testing.T, s *sandbox.Sandbox) {
	t.Helper()
	s.Kill()
	r, err := s.Wait()
	if err != nil || r.Outcome != sandbox.OutcomeCancelled {
		t.Errorf("%v, %+v", err, r)
	}
	if err := s.Freeze(true); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a job that has ended can be frozen: %v", err)
	}
}

// A paused job uses no CPU time, for as long as it is paused, and goes on.
func TestPause(t *testing.T) {
	s := begin(t, "while :; do :; done & while :; do :; done")
	had := pause(t, s)
	time.Sleep(time.Second)
	if now := used(t, s); now != had {
		t.Errorf("paused, the job has used %v", now-had)
	}
	if err := s.Freeze(false); err != nil {
		t.Fatal(err)
	}
	busy(t, s, had, 50*time.Millisecond)
	ended(t, s)
}

// A job that forks faster than it could be counted does not get away: neither
// when it is stopped where it stands, nor when it is frozen first.
func TestStopRacer(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		s := begin(t, racer)
		if frozen {
			pause(t, s)
		}
		ended(t, s)
	}
}
