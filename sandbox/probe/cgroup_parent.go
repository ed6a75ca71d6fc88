package probe

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// systemdRuns is there where systemd is the host's first process: sd_booted(3).
const systemdRuns = "/run/systemd/system"

// findParent looks upwards from the caller's group for one that is the caller's
// to divide.
//
// Where systemd runs that is for certain only one it has marked as delegated, for
// in all others it alone makes groups, whoever owns the files: see
// systemd.io/CGROUP_DELEGATION. The unit around the caller is never passed, since
// what is marked further up is delegated to another manager, such as the user's.
// A unit without a mark is found as well, for a caller who knows better: the
// user's manager of some versions marks nothing.
//
// Elsewhere it is the topmost one that the caller may write.
func (c *Cgroups) findParent() {
	systemd := Look(systemdRuns).Type == Dir
	for own := c.Own; ; own = path.Dir(own) {
		dir := path.Join(cgroupMount, own)
		if !strings.HasPrefix(own, "/") || strings.HasPrefix(own, "/..") || !mayDivide(dir) {
			break
		}
		c.Certain = !systemd || isMarked(dir)
		if !systemd || c.Certain || isUnit(path.Base(own)) {
			c.Parent = dir
		}
		if own == "/" || systemd && c.Parent != "" {
			break
		}
	}
	if c.Parent == "" {
		c.Certain = false
		return
	}
	var buf [4096]byte
	text, err := readSmall(c.Parent+"/cgroup.controllers", buf[:])
	if err != nil {
		c.Parent, c.Certain = "", false
		return
	}
	c.ParentControllers = strings.Fields(text)
	c.NoSwapLimit = noSwapLimit(c.Parent)
	if passed, err := readSmall(c.Parent+"/cgroup.subtree_control", buf[:]); err == nil && len(strings.Fields(passed)) > 0 {
		return
	}
	// The root of all groups may have processes and still be divided; it alone
	// has no such file.
	if Look(c.Parent+"/cgroup.events").Type == Absent {
		return
	}
	procs, err := readSmall(c.Parent+"/cgroup.procs", buf[:])
	c.Occupied = err != nil || procs != ""
	if c.Occupied && c.Parent != path.Join(cgroupMount, c.Own) {
		c.Parent, c.Certain = "", false // what is there is somebody else's
	}
	if c.Occupied && !systemd {
		c.Certain = false
	}
}

// DividesOwnGroup tells whether the caller makes groups without asking anybody,
// so that init is cloned into one. It takes some microseconds, and one where no
// group of version 2 can be made.
func DividesOwnGroup() bool {
	if !isCgroup2() {
		return false
	}
	var buf [4096]byte
	text, err := readSmall("/proc/self/cgroup", buf[:])
	if err != nil {
		return false
	}
	c := &Cgroups{}
	if c.Layout, c.Own = cgroupLayout(text); c.Own != "" {
		c.findParent()
	}
	return c.Certain
}

// isMarked looks for systemd's mark, see systemd.resource-control(5) on Delegate.
func isMarked(dir string) bool {
	var value [8]byte
	for _, name := range [...]string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// isUnit tells whether a group belongs to a unit of systemd's.
func isUnit(name string) bool {
	switch path.Ext(name) {
	case ".service", ".scope", ".slice", ".socket", ".mount", ".swap":
		return true
	}
	return false
}

// noSwapLimit tells whether groups of the same kind lack memory.swap.max, as
// with swapaccount=0. It is asked of a group that has the memory controller.
func noSwapLimit(dir string) bool {
	return Look(dir+"/memory.max").Type != Absent && Look(dir+"/memory.swap.max").Type == Absent
}

// findManager looks for the systemd that would make a scope for the caller: the
// user's own, for root the system's.
func (c *Cgroups) findManager(uid uint32) {
	if Look(systemdRuns).Type != Dir {
		return
	}
	manager, dir, run, bus := "system", cgroupMount, "/run", "/run/dbus/system_bus_socket"
	if uid != 0 {
		manager, run = "user", runtimeDir(uid)
		bus = run + "/bus"
		name := fmt.Sprintf("user@%d.service", uid)
		dir = path.Join(cgroupMount, fmt.Sprintf("user.slice/user-%d.slice", uid), name)
		if i := strings.Index(c.Own+"/", "/"+name+"/"); i >= 0 {
			dir = path.Join(cgroupMount, c.Own[:i], name)
		}
	}
	switch {
	case Look(run+"/systemd/private").Type == Other:
		c.Socket = run + "/systemd/private"
	case Look(bus).Type == Other:
		c.Socket, c.Bus = bus, true
	default:
		return
	}
	var buf [4096]byte
	text, err := readSmall(dir+"/cgroup.controllers", buf[:])
	if err != nil {
		c.Socket, c.Bus = "", false
		return
	}
	c.Manager, c.ManagerControllers = manager, strings.Fields(text)
	c.UserManager = manager == "user"
	if slices.Contains(c.ManagerControllers, "memory") && manager == "user" {
		c.NoSwapLimit = noSwapLimit(dir)
	}
}

// runtimeDir is the caller's directory of sockets. su(1) leaves the variable
// of another user, whose directory is of no use.
func runtimeDir(uid uint32) string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if f := Look(dir); path.IsAbs(dir) && f.Type == Dir && f.UID == uid {
		return path.Clean(dir)
	}
	return fmt.Sprintf("/run/user/%d", uid)
}
