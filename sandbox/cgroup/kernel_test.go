package cgroup_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// config is a group of the driver on this host, with what most policies ask for
// as far as there are the controllers; the test is skipped where the driver has
// nothing to work with.
func config(t testing.TB, driver string) *cgroup.Config {
	t.Helper()
	h, err := probe.Quick(probe.Question{})
	if err != nil {
		t.Fatal(err)
	}
	c := h.Cgroups
	var cfg *cgroup.Config
	var controllers []string
	switch {
	case driver == cgroup.Systemd && (c == nil || c.Manager == ""):
		sandboxtest.Lacks(t, "systemd", errors.New(h.Scope.Cause))
	case driver == cgroup.Cgroupfs && (c == nil || c.Parent == ""):
		sandboxtest.Lacks(t, "cgroupfs", errors.New("no control group here is the caller's to divide"))
	case driver == cgroup.Systemd:
		cfg = &cgroup.Config{Driver: driver, Parent: plan.Slice, Socket: c.Socket, Bus: c.Bus}
		controllers = c.ManagerControllers
	default:
		cfg = &cgroup.Config{Driver: driver, Parent: c.Parent}
		controllers = c.ParentControllers
	}
	for _, l := range []struct {
		to      *[]cgroup.Setting
		setting cgroup.Setting
	}{
		{&cfg.Limits, cgroup.Setting{File: cgroup.MemoryMax, Value: "67108864"}},
		{&cfg.Limits, cgroup.Setting{File: cgroup.PIDsMax, Value: "17"}},
		{&cfg.Job, cgroup.Setting{File: cgroup.OOMGroup, Value: "1"}},
		{&cfg.Job, cgroup.Setting{File: cgroup.PIDsMax, Value: "16"}},
	} {
		if slices.Contains(controllers, l.setting.Controller()) {
			*l.to = append(*l.to, l.setting)
		}
	}
	return cfg
}

// sleeper starts what stands for init: in its leaf, where the driver has one by
// now. It runs a job once it is told where.
func sleeper(t testing.TB, g *cgroup.Group) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", `read dir && sh -c 'echo 0 >"$0/cgroup.procs" && while :; do :; done' "$dir"; exec sleep 1000`)
	if leaf := g.InitLeaf(); leaf >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: leaf}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	stdin[cmd] = in
	return cmd
}

// stdin tells sleepers where to run a job.
var stdin = map[*exec.Cmd]io.Writer{}

// enter makes a group with a process in it, as a launch does.
func enter(t testing.TB, cfg *cgroup.Config) (*cgroup.Group, *exec.Cmd) {
	t.Helper()
	g, err := cgroup.Prepare(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := sleeper(t, g)
	if err := g.Join(t.Context(), cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return g, cmd
}

// leave ends the process and the group.
func leave(t testing.TB, g *cgroup.Group, cmd *exec.Cmd) {
	t.Helper()
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// where is the directory of a process's group.
func where(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join("/sys/fs/cgroup", path)
		}
	}
	t.Fatal("no group of version 2")
	return ""
}

func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// Both drivers make the same group.
func TestGroup(t *testing.T) {
	for _, driver := range []string{cgroup.Cgroupfs, cgroup.Systemd} {
		t.Run(driver, func(t *testing.T) {
			cfg := config(t, driver)
			g, cmd := enter(t, cfg)
			leaf := where(t, cmd.Process.Pid)
			dir := filepath.Dir(leaf)
			if filepath.Base(leaf) != "init" {
				t.Errorf("init is in %s", leaf)
			}
			for _, s := range append(slices.Clone(cfg.Limits), cfg.Job...) {
				file, onJob := filepath.Join(dir, s.File), slices.Contains(cfg.Job, s)
				if onJob {
					file = filepath.Join(dir, "job", s.File)
				}
				if got := read(t, file); got != s.Value || g.ReadBack(s.File, onJob) != s.Value {
					t.Errorf("%s: %s, read back %q, want %s", file, got, g.ReadBack(s.File, onJob), s.Value)
				}
			}
			fmt.Fprintln(stdin[cmd], filepath.Join(dir, "job"))
			used := func() time.Duration {
				c, err := g.Read()
				if err != nil {
					t.Fatal(err)
				}
				if c.OOM > 0 || c.OOMKilled > 0 || c.PIDsRefused > 0 {
					t.Errorf("counted %+v", c)
				}
				return c.User + c.System
			}
			for begin := time.Now(); used() < 50*time.Millisecond && time.Since(begin) < 20*time.Second; {
				time.Sleep(10 * time.Millisecond)
			}
			if err := g.Freeze(true); err != nil {
				t.Error(err)
			}
			for begin := time.Now(); !strings.Contains(read(t, dir+"/job/cgroup.events"), "frozen 1") && time.Since(begin) < 20*time.Second; {
				time.Sleep(10 * time.Millisecond)
			}
			before := used()
			time.Sleep(200 * time.Millisecond)
			if after := used(); before < 50*time.Millisecond || after != before {
				t.Errorf("frozen after %v, and then %v", before, after)
			}
			leave(t, g, cmd) // what is frozen can be killed
			if c, err := g.Read(); !errors.Is(err, cgroup.ErrGone) || c.Memory != cgroup.Unknown {
				t.Errorf("a closed group: %v, %+v", err, c)
			}
			deadline := time.Now().Add(5 * time.Second)
			for ; time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
					return
				}
			}
			t.Errorf("%s is left", dir)
		})
	}
}

// What a killed brig leaves is removed by the next one; what is in use is not.
func TestSweep(t *testing.T) {
	cfg := config(t, cgroup.Cgroupfs)
	left := filepath.Join(cfg.Parent, "brig-1-00000000")
	anothers := filepath.Join(cfg.Parent, "brig-1-00000000.scope")
	t.Cleanup(func() { _ = os.Remove(anothers) })
	for _, dir := range []string{left, left + "/init", left + "/job", anothers} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	used, cmd := enter(t, cfg)
	g, other := enter(t, cfg)
	dir := filepath.Dir(where(t, cmd.Process.Pid))
	leave(t, g, other)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", left, err)
	}
	if _, err := os.Stat(anothers); err != nil {
		t.Errorf("a group that is not brig's was removed: %v", err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("a group in use was removed: %v", err)
	}
	leave(t, used, cmd)
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		setting cgroup.Setting
		what    string
	}{
		{cgroup.Setting{File: cgroup.IOMax, Value: "254:999 rbps=1000"}, "setting io.max = 254:999 rbps=1000"},
		{cgroup.Setting{File: cgroup.CPUWeight, Value: "10001"}, "setting cpu.weight = 10001"},
	} {
		t.Run(tt.setting.File, func(t *testing.T) {
			cfg := config(t, cgroup.Cgroupfs)
			if controllers := read(t, cfg.Parent+"/cgroup.controllers"); !strings.Contains(controllers, tt.setting.Controller()) {
				sandboxtest.Lacks(t, "controller-"+tt.setting.Controller(), errors.New("only "+controllers))
			}
			cfg.Limits = append(cfg.Limits[:len(cfg.Limits):len(cfg.Limits)], tt.setting)
			g, err := cgroup.Prepare(t.Context(), cfg)
			var refused *cgroup.Error
			if !errors.As(err, &refused) || refused.What != tt.what || refused.Fix == "" {
				t.Errorf("got %v", err)
			}
			if g != nil {
				_ = g.Close()
			}
		})
	}
}

// BenchmarkGroup is the cost of a group, without that of the process in it:
// made, joined, killed and removed.
func BenchmarkGroup(b *testing.B) {
	for _, driver := range []string{cgroup.Cgroupfs, cgroup.Systemd} {
		b.Run(driver, func(b *testing.B) {
			cfg := config(b, driver)
			var join time.Duration
			for b.Loop() {
				start := time.Now()
				g, err := cgroup.Prepare(b.Context(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				join += time.Since(start)
				cmd := sleeper(b, g)
				start = time.Now()
				if err := g.Join(b.Context(), cmd.Process.Pid); err != nil {
					b.Fatal(err)
				}
				join += time.Since(start)
				leave(b, g, cmd)
			}
			b.ReportMetric(float64(join.Microseconds())/float64(b.N), "µs-to-join/op")
		})
	}
}
