package e2e

import (
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

// TestApplyKilled ends brig apply with SIGKILL at random moments, several times
// in a row, until it comes to its end: all is as if it had done so at once.
func TestApplyKilled(t *testing.T) {
	needKept(t)
	sandboxtest.Leaks(t)
	store, name := ".local/share/brig", fmt.Sprint("killed-", os.Getpid()) // root has one store
	home, origin := t.TempDir(), t.TempDir()
	if store = filepath.Join(home, store); os.Geteuid() == 0 {
		store = "/var/lib/brig"
	}
	// On a slow machine fewer changes take as long.
	runs, dirs := 6, 20
	if slow() > 1 {
		runs, dirs = 1, 4
	}
	for i := range dirs {
		sub := filepath.Join(origin, fmt.Sprint("d", i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 10 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(j)), []byte("old\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	brig := func(dir string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(brigDir, "brig"), args...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + home}
		return cmd
	}
	must := func(cmd *exec.Cmd) string {
		t.Helper()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
		return string(out)
	}
	const job = `for d in d*; do rm $d/0; echo new >$d/1; mkdir $d/n; echo n >$d/n/n; chmod 755 $d/2; ln -sf 1 $d/3; done; rm -r d1 d2; echo f >d1`
	list := func(dir string) string {
		cmd := exec.Command("sh", "-c", `find . -printf '%P|%y|%m|%l\n' | sort; cat $(find . -type f | sort) | md5sum`)
		cmd.Dir = dir
		return must(cmd)
	}
	fresh := func() string {
		dir := filepath.Join(t.TempDir(), "p")
		must(exec.Command("cp", "-a", origin, dir))
		must(brig(dir, "run", "--keep", "--name", name, "--", "sh", "-c", job))
		return dir
	}
	dir := fresh()
	begin := time.Now()
	must(brig(dir, "apply", name))
	typical := time.Since(begin)
	want := list(dir)
	must(brig(dir, "rm", name))

	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	killed := 0
	for run := range runs {
		dir := fresh()
		for try := range 5 {
			within := typical
			if try == 0 {
				within /= 4 // one in each run is caught at any rate
			}
			cmd := brig(dir, "apply", name)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(random.Int64N(int64(within))))
			_ = cmd.Process.Kill()
			if cmd.Wait() != nil {
				killed++
			}
		}
		must(brig(dir, "apply", name))
		if got := list(dir); got != want {
			t.Fatalf("run %d (seed %d): the host has\n%swant\n%s", run, seed, got, want)
		}
		if left := must(brig(dir, "diff", name)); left != "" {
			t.Fatalf("run %d (seed %d): left\n%s", run, seed, left)
		}
		if left, err := filepath.Glob(filepath.Join(store, "containers/*/*.journal")); err != nil || len(left) > 0 {
			t.Fatalf("run %d (seed %d): left %s, %v", run, seed, strings.Join(left, " "), err)
		}
		must(brig(dir, "rm", name))
	}
	if killed < runs {
		t.Errorf("only %d of %d were caught before their end", killed, 5*runs)
	}
}

// TestRemoveAfterKilledApply: a container that goes after an apply that was killed
// leaves nothing of it in the host's directory, and no file in pieces.
func TestRemoveAfterKilledApply(t *testing.T) {
	sandboxtest.Need(t, "overlay", "unprivileged")
	sandboxtest.Leaks(t)
	home, dir := t.TempDir(), t.TempDir()
	brig := func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(brigDir, "brig"), args...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + home}
		return cmd
	}
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	runs, step := 8, time.Millisecond
	if slow() > 1 {
		runs, step = 3, 3*time.Millisecond
	}
	caught := 0
	for run := range runs {
		text := fmt.Sprint("new", run)
		if out, err := brig("run", "--keep", "--name", "k", "--", "sh", "-c", "for f in *; do printf "+text+" >$f; done").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		cmd := brig("apply", "--force", "k")
		lines, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = lines.Read(make([]byte, 1)) // it has begun
		time.Sleep(time.Duration(run) * step)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		left, err := filepath.Glob(filepath.Join(home, ".local/share/brig/containers/*/apply1.journal"))
		if err != nil {
			t.Fatal(err)
		}
		caught += len(left)
		if out, err := brig("rm", "k").CombinedOutput(); err != nil {
			t.Fatalf("run %d: %v: %s", run, err, out)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 40 {
			t.Fatalf("run %d: the host has %v, %v", run, entries, err)
		}
		for _, e := range entries {
			if got, err := os.ReadFile(filepath.Join(dir, e.Name())); err != nil || string(got) != "old" && !strings.HasPrefix(string(got), "new") || len(got) < 3 {
				t.Errorf("run %d: %s has %q, %v", run, e.Name(), got, err)
			}
		}
	}
	if caught == 0 {
		t.Error("no apply was caught before its end")
	}
}
