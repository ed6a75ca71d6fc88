package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where version 2 is mounted wherever brig can make groups.
const cgroupRoot = "/sys/fs/cgroup"

// managerPatience bounds what a service manager is waited for.
const managerPatience = 20 * time.Second

// needCgroup2 asks whether brig can hold limits in control groups here: in a
// part of the tree that is the caller's to divide, or in a scope of the service
// manager's. A scope is tried, by systemd's own means; nothing is left of it.
func needCgroup2() error {
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("version 2 of control groups is not mounted at %s", cgroupRoot)
	}
	own, err := ownGroup()
	if err != nil {
		return err
	}
	problem := mayDivide(own)
	if problem == nil {
		return nil
	}
	if err := tryScope(); err != nil {
		return fmt.Errorf("%w; and %w", problem, err)
	}
	return nil
}

// ownGroup is the caller's group of version 2.
func ownGroup() (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path, nil
		}
	}
	return "", errors.New("this process is in no control group of version 2")
}

// mayDivide looks upwards from a group for one that the caller may divide
// without asking anybody: under systemd one that it has marked as delegated,
// else one in which no process is in the way.
func mayDivide(own string) error {
	_, err := os.Stat("/run/systemd/system")
	systemd := err == nil
	for ; strings.HasPrefix(own, "/") && !strings.HasPrefix(own, "/.."); own = filepath.Dir(own) {
		dir := filepath.Join(cgroupRoot, own)
		for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
			if err := unix.Access(filepath.Join(dir, name), unix.W_OK); err != nil {
				return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
			}
		}
		if (systemd && marked(dir) || !systemd && unoccupied(dir)) && lacking(dir) == nil {
			return nil
		}
		if own == "/" {
			break
		}
	}
	return fmt.Errorf("no group from %s upwards is delegated with what limits need", own)
}

func marked(dir string) bool {
	var value [8]byte
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// unoccupied tells whether a group can pass controllers on: it does so already,
// has no process, or is the root of all groups, which has no events.
func unoccupied(dir string) bool {
	passed, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	procs, perr := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	_, eerr := os.Stat(filepath.Join(dir, "cgroup.events"))
	return err == nil && len(strings.Fields(string(passed))) > 0 || perr == nil && len(procs) == 0 || errors.Is(eerr, os.ErrNotExist)
}

// lacking says which controller that limits need a group does not have.
func lacking(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, want := range []string{"cpu", "memory", "pids"} {
		if !slices.Contains(strings.Fields(string(have)), want) {
			return fmt.Errorf("%s has no %s controller", dir, want)
		}
	}
	return nil
}

// tryScope runs a command in a scope of the caller's service manager.
func tryScope() error {
	argv, dir := []string{"--scope", "--quiet", "--collect", "true"}, cgroupRoot
	if uid := os.Getuid(); uid != 0 {
		argv = append([]string{"--user"}, argv...)
		dir = filepath.Join(cgroupRoot, fmt.Sprintf("user.slice/user-%d.slice/user@%[1]d.service", uid))
	}
	if err := lacking(dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), managerPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-run", argv...)
	cmd.Env = os.Environ()
	if run := os.Getenv("XDG_RUNTIME_DIR"); os.Getuid() != 0 && unix.Access(run+"/systemd/private", unix.W_OK) != nil {
		cmd.Env = append(cmd.Env, fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", os.Getuid()))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("systemd-run: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
