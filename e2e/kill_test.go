package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// killRuns is how many sandboxes TestKilledAtRandomMoments makes on an ordinary
// machine; half of them lose their brig.
const killRuns = 1000

// TestKilledAtRandomMoments ends brig with SIGKILL anywhere between its start
// and its end, in every second of many runs, and wants nothing left: no
// process, mount, directory, descriptor or cgroup.
func TestKilledAtRandomMoments(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	home, temp := t.TempDir(), t.TempDir()
	start := func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(brigDir, "brig"), "run", "--policy", "strict", "--", "/bin/sh", "-c", "true; true")
		cmd.Dir = temp
		cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + temp}
		return cmd
	}
	// How long a run takes here decides where the moments lie.
	var typical time.Duration
	for trial := range 10 {
		begin := time.Now()
		if out, err := start().CombinedOutput(); err != nil {
			t.Fatalf("brig run: %v: %s", err, out)
		}
		if took := time.Since(begin); trial == 0 || took < typical {
			typical = took
		}
	}

	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	killed, runs := 0, killRuns
	if slow() > 1 {
		runs = 24
	}
	for run := range runs {
		cmd := start()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if run%2 == 1 {
			time.Sleep(time.Duration(random.Int64N(int64(typical))))
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		}
		err := cmd.Wait()
		switch {
		case run%2 == 0 && err != nil:
			t.Fatalf("run %d (seed %d): %v", run, seed, err)
		case err != nil:
			killed++
		}
	}
	// What a service manager keeps for a brig that is dead goes with the next run.
	if err := start().Run(); err != nil {
		t.Error(err)
	}
	if killed < runs/4 {
		t.Errorf("only %d of %d runs were caught before their end (a run takes %v)", killed, runs, typical)
	}
	if err := emptyOfBrig(temp); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	t.Logf("a run takes %v; %d of %d ended by SIGKILL (seed %d)", typical, killed, runs, seed)
}

// emptyOfBrig wants nothing in a temporary directory that only brig used. A
// janitor may still be at work for a moment.
func emptyOfBrig(dir string) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d things left in %s, the first is %s", len(entries), dir, entries[0].Name())
		}
	}
}
