package e2e

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// TestContainersKilled ends the commands for containers with SIGKILL at random
// moments. Whatever is listed then can be run again, and removed; what is not
// listed is found, and swept.
func TestContainersKilled(t *testing.T) {
	sandboxtest.Need(t, "userns", "overlay", "subid", "unprivileged")
	sandboxtest.Leaks(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	work := filepath.Join(dir, "work")
	if err := os.MkdirAll(filepath.Join(work, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	brig := func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(brigDir, "brig"), args...)
		cmd.Dir = work
		cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "XDG_DATA_HOME=" + data}
		return cmd
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := brig(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("brig %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	keep := []string{"run", "--keep", "--name", "c", "--userns", "keep-id", "--", "sh", "-c", "mkdir -p -m 0 sub/closed; echo x >>sub/f; rm -rf old; mkdir old"}
	begin := time.Now()
	must(keep...)
	typical := time.Since(begin)
	must("rm", "c")
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	killed, runs := 0, 21
	if slow() > 1 {
		runs = 6
	}
	for run := range runs {
		args := [][]string{keep, {"start", "c"}, {"rm", "c"}}[run%3]
		cmd := brig(args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(typical))))
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if cmd.Wait() != nil {
			killed++
		}
		// Both wait for the killed one's sandbox to be gone.
		if strings.TrimSpace(must("ps", "-a", "--format", "{{.Names}}")) == "c" {
			if out, err := brig("start", "c").CombinedOutput(); err != nil {
				t.Fatalf("run %d (seed %d), after %v: start: %v: %s", run, seed, args, err, out)
			}
		}
		if _, err := brig("system", "check").CombinedOutput(); err != nil {
			must("system", "check", "--repair")
		}
	}
	if killed == 0 {
		t.Errorf("nothing was killed (seed %d)", seed)
	}
	must("prune", "--all", "--containers")
	entries, err := os.ReadDir(filepath.Join(data, "brig", "containers"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "lock" {
		t.Errorf("left behind (seed %d): %v", seed, entries)
	}
}
