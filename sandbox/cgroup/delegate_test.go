package cgroup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
)

// What the job may divide lies below every limit, bounded, and is gone with the
// group, also where it was shut.
func TestDelegate(t *testing.T) {
	for _, driver := range []string{cgroup.Cgroupfs, cgroup.Systemd} {
		t.Run(driver, func(t *testing.T) {
			cfg := config(t, driver)
			cfg.Delegate = &cgroup.Delegation{}
			g, cmd := enter(t, cfg)
			dir := filepath.Dir(where(t, cmd.Process.Pid))
			ns := filepath.Join(dir, "job", "ns")
			for file, want := range map[string]string{
				"job/cgroup.max.descendants": "64", "job/cgroup.max.depth": "8", "job/pids.max": "16", "pids.max": "17", "job/ns/pids.max": "max",
			} {
				if strings.HasSuffix(file, "pids.max") && len(cfg.Limits) == 0 {
					continue // no controller
				}
				if got := read(t, filepath.Join(dir, file)); got != want {
					t.Errorf("%s: %s, want %s", file, got, want)
				}
			}
			if has, passed := read(t, dir+"/cgroup.controllers"), read(t, ns+"/cgroup.controllers"); has != "" && passed == "" {
				t.Errorf("the job has no controller of %s", has)
			}
			if g.Procs() < 0 {
				t.Error("the file that decides about moves is not open")
			}
			if _, fd := g.JobLeaf(); fd < 0 {
				t.Error("no group for the job to enter")
			}
			if err := os.MkdirAll(ns+"/a/b/c", 0o755); err != nil {
				t.Fatal(err)
			}
			for _, shut := range []string{ns + "/a/b", ns + "/a"} {
				if err := os.Chmod(shut, 0); err != nil {
					t.Fatal(err)
				}
			}
			leave(t, g, cmd)
			for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
					return
				}
			}
			t.Errorf("%s is left", dir)
		})
	}
}

// An owner is given the group and the files that are its to write, no limit.
func TestDelegateTo(t *testing.T) {
	cfg := config(t, cgroup.Cgroupfs)
	cfg.Delegate = &cgroup.Delegation{Owner: &cgroup.Owner{UID: 65533, GID: 65533}}
	if os.Getuid() != 0 {
		g, err := cgroup.Prepare(t.Context(), cfg)
		if err == nil {
			_ = g.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "giving the job its control group: ") {
			t.Errorf("an ordinary user gives it away: %v", err)
		}
		return
	}
	g, cmd := enter(t, cfg)
	ns := filepath.Join(filepath.Dir(where(t, cmd.Process.Pid)), "job", "ns")
	given := map[string]bool{".": true, "cgroup.procs": true, "cgroup.threads": true, "cgroup.subtree_control": true}
	files, err := os.ReadDir(ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{".", ".."}, names(files)...) {
		if got := owner(t, filepath.Join(ns, name)) == 65533; got != given[name] {
			t.Errorf("%s is given: %v", name, got)
		}
	}
	leave(t, g, cmd)
}

func owner(t *testing.T, name string) uint32 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func names(files []os.DirEntry) (list []string) {
	for _, f := range files {
		list = append(list, f.Name())
	}
	return list
}
