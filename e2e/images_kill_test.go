package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// TestImagesKilled ends brig load with SIGKILL at random moments. What it has
// named is whole, the next command removes the rest, and no process stays.
func TestImagesKilled(t *testing.T) {
	sandboxtest.Need(t, "subid", "unprivileged")
	sandboxtest.Leaks(t)
	dir := t.TempDir()
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir}
	brig := func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(brigDir, "brig"), args...)
		cmd.Dir, cmd.Env = dir, env
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
	runs := 30
	if slow() > 1 {
		runs = 4
	}
	t.Cleanup(func() { _ = brig("prune", "--all").Run() })
	root, archive := filepath.Join(dir, "root"), filepath.Join(dir, "root.tar")
	// As many files, up to some thousand, as there is time to be killed in.
	var typical time.Duration
	for dirs, i := 8, 0; dirs <= 64 && typical < time.Second/4; dirs *= 2 {
		for ; i < dirs; i++ {
			sub := filepath.Join(root, fmt.Sprint(i))
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			for j := range 50 {
				if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(j)), []byte(strings.Repeat("x", 3000)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		if out, err := exec.Command("tar", "-C", root, "--owner=7", "--group=7", "-cf", archive, ".").CombinedOutput(); err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		must("prune", "--all")
		begin := time.Now()
		must("import", archive, "x")
		typical = time.Since(begin)
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	killed := 0
	for run := range runs {
		if run%3 != 2 { // else there is little left to do
			must("prune", "--all")
		}
		cmd := brig("import", archive, "x")
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
		out, _ := brig("system", "check").CombinedOutput()
		for _, bad := range []string{"damaged:", "broken:", "index:", "not unpacked:"} {
			if strings.Contains(string(out), bad) {
				t.Fatalf("run %d (seed %d): %s", run, seed, out)
			}
		}
		// A sandbox ends a moment after its brig; until then its directory is
		// written to.
		time.Sleep(50 * time.Millisecond)
		must("prune")
		if out := must("system", "check"); out != "the image store is in order\n" {
			t.Fatalf("run %d (seed %d): %s", run, seed, out)
		}
	}
	if killed < runs/3 {
		t.Errorf("only %d of %d were caught before their end", killed, runs)
	}
}
