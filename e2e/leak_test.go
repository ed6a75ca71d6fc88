package e2e

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// leakRuns is how many sandboxes TestNothingIsLeft makes.
var leakRuns = flag.Int("runs", 1000, "sandboxes that TestNothingIsLeft makes, half of which lose their brig")

const (
	// leakWorkers sandboxes exist side by side.
	leakWorkers = 2
	// leakLatest is the latest moment after its start at which brig is killed:
	// about when a short job is over.
	leakLatest = 15 * time.Millisecond
	// leakBudget is how long all of it may take.
	leakBudget = 60 * time.Second
)

// leakResult stands for a name that each run has for itself. A result that takes
// an older one's place is renamed, and between two calls it has another name.
const leakResult = "RESULT"

// leakJobs are the runs between which TestNothingIsLeft alternates: each policy
// has mappings, mounts and files of its own to leave behind.
var leakJobs = [][]string{
	{"--policy", "strict", "--", "/bin/true"},
	{"--policy", "default", "--", "/bin/sh", "-c", "echo changed >file; true"},
	{"--policy", "judge", "--result", leakResult, "--", "/bin/true"},
	{"--policy", "default", "--tmpfs", "/extra:size=1MiB", "-v", "./file:/copied:copy", "--", "/bin/sh", "-c", "(setsid sleep 60 >/dev/null 2>&1 </dev/null &); true"},
}

// TestNothingIsLeft makes many sandboxes, ends half of them by SIGKILL of brig
// at a random moment, and wants to find nothing afterwards that was not there
// before: no process anywhere on the host, no mount, cgroup, descriptor, and no
// file in any place that brig writes to.
func TestNothingIsLeft(t *testing.T) {
	sandboxtest.Need(t, "userns", "overlay")
	places := newLeakPlaces(t)
	sandboxtest.Leaks(t)
	before, err := sandboxtest.Take(sandboxtest.Host)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	begin := time.Now()
	var next, killed atomic.Int64
	var workers sync.WaitGroup
	for worker := range uint64(leakWorkers) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(seed, worker))
			for {
				run := int(next.Add(1)) - 1
				if run >= *leakRuns || t.Failed() {
					return
				}
				wasKilled, err := places.run(run, random)
				if err != nil {
					t.Errorf("run %d (seed %d): %v", run, seed, err)
				}
				if wasKilled {
					killed.Add(1)
				}
			}
		})
	}
	workers.Wait()
	took := time.Since(begin)
	t.Logf("%d runs in %v, %d of them killed before their end (seed %d)", *leakRuns, took.Round(time.Millisecond), killed.Load(), seed)
	if *leakRuns >= 100 && killed.Load() < int64(*leakRuns/8) {
		t.Errorf("only %d of %d runs were killed before their end: the moments are too late", killed.Load(), *leakRuns)
	}
	if took > leakBudget*time.Duration(max(*leakRuns, 1000))/1000 {
		t.Errorf("%d runs took %v", *leakRuns, took)
	}
	left, err := sandboxtest.Left(before, sandboxtest.Host)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range left {
		t.Errorf("left behind: %s", item)
	}
	places.check(t)
}

// leakPlaces are directories for the tested brigs alone, in every place that
// brig might write to.
type leakPlaces struct {
	home, work, results string
	env                 []string
	before              map[string][]string // what stands in each after a first run
}

func newLeakPlaces(t *testing.T) *leakPlaces {
	top, err := os.MkdirTemp("", "brig-test-leak-") //nolint:usetesting // t.TempDir lies in a directory that only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	p := &leakPlaces{
		home: filepath.Join(top, "home"), work: filepath.Join(top, "work"), results: filepath.Join(top, "results"),
		before: map[string][]string{},
	}
	p.env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + p.home}
	for variable, dir := range map[string]string{
		"TMPDIR": "tmp", "XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "state", "XDG_CACHE_HOME": "cache",
		"XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data",
	} {
		dir = filepath.Join(top, dir)
		p.env = append(p.env, variable+"="+dir)
		p.before[dir] = nil
	}
	p.before[p.home], p.before[p.work], p.before[p.results] = nil, nil, nil
	for dir := range p.before {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Not in a place that brig removes, and for its owner alone where the owner
	// is who brig is run by.
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.work, "file"), []byte("the host's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// A first run of each kind may fill caches, which are meant to stay.
	for i := range leakJobs {
		cmd, result := p.command(i)
		out, err := cmd.CombinedOutput()
		_ = os.Remove(result)
		if err != nil {
			t.Fatalf("brig %s: %v: %s", strings.Join(leakJobs[i], " "), err, out)
		}
	}
	for dir := range p.before {
		p.before[dir] = listAll(t, dir)
	}
	return p
}

// command also names the file that the run may leave, because it was asked to.
func (p *leakPlaces) command(run int) (cmd *exec.Cmd, result string) {
	result = filepath.Join(p.results, fmt.Sprintf("%d.json", run))
	args := append([]string{"run"}, leakJobs[run%len(leakJobs)]...)
	for i := range args {
		if args[i] == leakResult {
			args[i] = result
		}
	}
	cmd = exec.Command(filepath.Join(brigDir, "brig"), args...)
	cmd.Dir, cmd.Env = p.work, p.env
	return cmd, result
}

// run makes one sandbox, and kills brig in every other turn of the jobs.
func (p *leakPlaces) run(run int, random *rand.Rand) (killed bool, err error) {
	cmd, result := p.command(run)
	defer func() { _ = os.Remove(result) }()
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	// Somebody who holds the pipe open must not keep the test.
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return false, err
	}
	kill := run/len(leakJobs)%2 == 1
	if kill {
		time.Sleep(time.Duration(random.Int64N(int64(leakLatest) * int64(slow()))))
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false, err
		}
	}
	err = cmd.Wait()
	if err == nil {
		return false, nil
	}
	if kill && !errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.ExitCode() == -1 {
		return true, nil
	}
	return false, fmt.Errorf("%w: %s", err, output.String())
}

// check wants each place to be as it was. A janitor may still be at work for a
// moment.
func (p *leakPlaces) check(t *testing.T) {
	for dir, before := range p.before {
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			now := listAll(t, dir)
			if strings.Join(now, "\n") == strings.Join(before, "\n") {
				break
			}
			if time.Now().After(end) {
				t.Errorf("%s holds\n  %s\nand held before\n  %s", dir, strings.Join(now, "\n  "), strings.Join(before, "\n  "))
				break
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(p.work, "file"))
	if err != nil || string(data) != "the host's\n" {
		t.Errorf("the host's file holds %q (%v)", data, err)
	}
}

// listAll is everything below a directory.
func listAll(t *testing.T, dir string) []string {
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		found = append(found, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
