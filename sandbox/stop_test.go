package sandbox_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
	"github.com/brig-sandbox/brig/userns"
)

// stopVariable makes this binary a brig that stops before an op of a plan.
const stopVariable = "BRIG_TEST_STOP_AT"

func TestMain(m *testing.M) {
	if at, err := strconv.Atoi(os.Getenv(stopVariable)); err == nil {
		if err := stopAt(at); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// stopSpec is the job of the default policy, in the current directory.
func stopSpec() (*sandbox.Spec, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	p, _, err := policy.Load(policy.LoadOptions{Shipped: configs.FS, Dir: dir})
	if err != nil {
		return nil, err
	}
	spec := sandbox.NewSpec(p, "sh", "-c", "setsid sleep 1000 & exec sleep 1000")
	spec.Dir, spec.Filter = dir, configs.Filter
	return spec, nil
}

// stopAt starts the job with a stop before the op, says "stopped" and how many
// ops there are, and waits to be killed.
func stopAt(at int) error {
	spec, err := stopSpec()
	if err != nil {
		return err
	}
	res, err := sandbox.Prepare(spec)
	if err != nil {
		return err
	}
	cfg := &launch.Config{Plan: res.Plan, Env: spec.Env, StopAt: at}
	cfg.WriteMaps = func(pid int) error {
		return userns.WriteMapsDirect(pid, userns.IDs{UID: usernsMap(res.Plan.IDs.UID), GID: usernsMap(res.Plan.IDs.GID)})
	}
	cfg.Views, err = launch.OpenViews(res.Plan, func(pid int, uid, gid []plan.Mapping) error {
		return userns.WriteMapsDirect(pid, userns.IDs{UID: usernsMap(uid), GID: usernsMap(gid)})
	})
	if err != nil {
		return err
	}
	loader := seccomp.Loader{Shipped: spec.Filter, Cache: seccomp.CacheDir()}
	loaded, err := loader.Load(context.Background(), res.Filter, res.FilterOptions, runtime.GOARCH)
	if err != nil {
		return err
	}
	for _, f := range loaded.Program.Filters {
		cfg.Filters = append(cfg.Filters, seccomp.AppendInsns(nil, f))
	}
	for i := range res.Plan.Ops {
		if op := &res.Plan.Ops[i]; op.Kind == plan.Copy {
			pack, err := launch.ReadPack(op, -1)
			if err != nil {
				return err
			}
			cfg.Packs = append(cfg.Packs, pack)
		}
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	cfg.Stdio = [3]uintptr{null.Fd(), null.Fd(), null.Fd()}
	box, err := launch.Start(cfg)
	if err != nil {
		return err
	}
	if err := reached(box, res.Plan, at); err != nil {
		return err
	}
	fmt.Println("stopped", len(res.Plan.Ops))
	_, err = box.Receive() // for ever, but for the job's stage
	return fmt.Errorf("went on: %w", err)
}

// reached waits until the op is the next one: init says so, but the job's
// process, which has no channel, is just given the time to come to it.
func reached(box *launch.Sandbox, p *plan.Plan, at int) error {
	for {
		m, err := box.Receive()
		switch {
		case errors.Is(err, launch.ErrStopped):
			return nil
		case err != nil:
			return err
		case m.Failed != nil:
			return m.Failed
		case m.Ready == nil:
			return fmt.Errorf("the job has ended: %+v", m.End)
		}
		if p.Ops[at-1].Kind.Stage() == plan.StageJob {
			time.Sleep(2 * time.Millisecond)
			return nil
		}
	}
}

func usernsMap(list []plan.Mapping) userns.Map {
	m := make(userns.Map, len(list))
	for i, e := range list {
		m[i] = userns.Mapping{Inside: e.Inside, Outside: e.Outside, Count: e.Count}
	}
	return m
}

// Killed with SIGKILL before any op of a plan, brig leaves no process, mount,
// cgroup, descriptor or directory, and the caller's directory as it was.
func TestKilledBeforeEveryOp(t *testing.T) {
	sandboxtest.Need(t, "userns", "seccomp", "overlay", "tmpfs-xattr")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Leaks(t)
	started := time.Now()
	ops := 1
	for at := 1; at <= ops; at++ {
		ops = killAt(t, dir, at)
		if t.Failed() {
			t.Fatalf("at op %d", at)
		}
	}
	if ops < 90 {
		t.Errorf("the default plan has %d ops", ops)
	}
	t.Logf("%d ops in %v", ops, time.Since(started))
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "mine" {
		t.Errorf("the directory holds %v, %v", files, err)
	}
}

// killAt kills a brig that stops before an op, and waits until all that it
// started is gone. It returns how many ops there are.
func killAt(t *testing.T, dir string, at int) (ops int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), stopVariable+"="+strconv.Itoa(at))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(r).ReadString('\n')
	if _, err := fmt.Sscanf(line, "stopped %d\n", &ops); err != nil {
		t.Errorf("it says %q %s", line, complaints.String())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	return ops
}
