// Command group starts a process in a control group of its own and prints how
// long that took, in nanoseconds, from nothing to the process being in it.
//
//	group none                 in the caller's group, for comparison
//	group cgroupfs DIRECTORY   mkdir and CLONE_INTO_CGROUP below it
//	group systemd SOCKET       a scope of the service manager's that listens there
//	group serve AT DIRECTORY   measure for those who ask there
//	group ask AT ARGUMENT...   have it measured there; cgroupfs needs no directory
//
// The group has the limits of a usual sandbox, as far as there are controllers,
// and is removed before the command ends.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

func main() {
	took, err := measure(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "group: %v\n", err)
		os.Exit(1)
	}
	fmt.Println(took.Nanoseconds())
}

func measure(args []string) (time.Duration, error) {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return 0, serve(args[1], args[2])
	case len(args) > 2 && args[0] == "ask":
		return ask(args[1], args[2:])
	case len(args) == 1 && args[0] == "none":
		return plain()
	case len(args) == 2 && args[0] == cgroup.Cgroupfs:
		cfg := &cgroup.Config{Driver: cgroup.Cgroupfs, Parent: args[1]}
		text, err := os.ReadFile(args[1] + "/cgroup.controllers")
		if err != nil {
			return 0, err
		}
		limit(cfg, strings.Fields(string(text)))
		return grouped(cfg)
	case len(args) >= 2 && args[0] == cgroup.Systemd:
		cfg := &cgroup.Config{Driver: cgroup.Systemd, Parent: plan.Slice, Socket: args[1]}
		limit(cfg, args[2:])
		return grouped(cfg)
	}
	return 0, fmt.Errorf("usage: group none | cgroupfs DIRECTORY | systemd SOCKET [CONTROLLER...] | serve AT DIRECTORY | ask AT ARGUMENT... (see the package)")
}

// limit adds the limits that most policies have.
func limit(cfg *cgroup.Config, controllers []string) {
	for _, l := range []struct {
		to      *[]cgroup.Setting
		setting cgroup.Setting
	}{
		{&cfg.Limits, cgroup.Setting{File: cgroup.MemoryMax, Value: "268435456"}},
		{&cfg.Limits, cgroup.Setting{File: cgroup.PIDsMax, Value: "65"}},
		{&cfg.Job, cgroup.Setting{File: cgroup.OOMGroup, Value: "1"}},
		{&cfg.Job, cgroup.Setting{File: cgroup.PIDsMax, Value: "64"}},
	} {
		if slices.Contains(controllers, l.setting.Controller()) {
			*l.to = append(*l.to, l.setting)
		}
	}
}

// process is what stands for init. It ends with its input.
func process(leaf int) (*exec.Cmd, error) {
	cmd := exec.Command("/bin/cat")
	if leaf >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: leaf}
	}
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return cmd, cmd.Start()
}

func plain() (time.Duration, error) {
	begin := time.Now()
	cmd, err := process(-1)
	if err != nil {
		return 0, err
	}
	took := time.Since(begin)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
	return took, nil
}

func grouped(cfg *cgroup.Config) (took time.Duration, err error) {
	begin := time.Now()
	g, err := cgroup.Prepare(context.Background(), cfg)
	if err != nil {
		return 0, err
	}
	cmd, err := process(g.InitLeaf())
	if err == nil {
		err = g.Join(context.Background(), cmd.Process.Pid)
		took = time.Since(begin)
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}
	if cerr := g.Close(); err == nil {
		err = cerr
	}
	return took, err
}
