package probe

import (
	"fmt"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Cgroups says how a host divides resources among processes, and what of it is
// the caller's to use. It is read, never tried: nothing below the cgroup file
// system is changed.
type Cgroups struct {
	// Layout is "v2", "hybrid" (v2 beside v1 controllers), "v1", or "none".
	Layout string `json:"layout"`
	// Own is the caller's cgroup of version 2, Dir the directory that shows it;
	// both empty where there is none to be seen.
	Own string `json:"own,omitempty"`
	Dir string `json:"dir,omitempty"`
	// Controllers are those of that cgroup.
	Controllers []string `json:"controllers,omitempty"`
	// Delegated says that the caller may divide it.
	Delegated bool `json:"delegated"`
	// UserManager says that the caller's systemd can be asked for a scope.
	UserManager bool `json:"user_manager"`
	// Problem says why nothing could be found out.
	Problem string `json:"problem,omitempty"`

	// Parent is the directory below which the caller may make groups without
	// asking anybody, with the ParentControllers; empty where there is none.
	Parent            string   `json:"parent,omitempty"`
	ParentControllers []string `json:"parent_controllers,omitempty"`
	// Certain says that nobody else divides Parent: systemd has marked it as
	// delegated, or does not run and nothing would have to be moved.
	Certain bool `json:"certain,omitempty"`
	// Occupied says that Parent holds processes, the caller's among them, which
	// must be moved into a leaf of it before it can be divided.
	Occupied bool `json:"occupied,omitempty"`
	// Manager is the systemd that can be asked for a scope: "user", for root
	// "system", or "" for none; ManagerControllers are what it can give.
	Manager            string   `json:"manager,omitempty"`
	ManagerControllers []string `json:"manager_controllers,omitempty"`
	// Socket is the manager's own, or with Bus a bus on which it listens.
	Socket string `json:"socket,omitempty"`
	Bus    bool   `json:"bus,omitempty"`
	// NoSwapLimit says that the kernel does not account swap.
	NoSwapLimit bool `json:"no_swap_limit,omitempty"`

	// What follows explains why no group can be made, and is not looked up for a
	// launch that makes one.

	// Existing are the controllers that version 2 has at the top of what is
	// seen of it: the kernel's own, outside of a container.
	Existing []string `json:"existing,omitempty"`
	// Container names the container around the caller, "" where there is none.
	Container string  `json:"container,omitempty"`
	Session   Session `json:"session,omitzero"`
	// Drivers are the ways in which a sandbox gets a group of its own.
	Drivers []CgroupDriver `json:"drivers,omitempty"`
}

// cgroupMount is where version 2 is mounted, alone, on every host where groups
// can be made. Beside version 1 it has no controllers.
const cgroupMount = "/sys/fs/cgroup"

// ReadCgroups reads the facts about the calling process's cgroups.
func ReadCgroups(uid uint32) *Cgroups {
	c := &Cgroups{Layout: "none"}
	text, err := readSmall("/proc/self/cgroup", make([]byte, 64<<10))
	if err != nil {
		c.Problem = fmt.Sprintf("/proc/self/cgroup: %v", err)
		return c
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		c.Problem = err.Error()
		return c
	}
	c.Layout, c.Own = cgroupLayout(text)
	for _, m := range mounts {
		if m.FSType == "cgroup2" && c.Own != "" {
			c.find(m)
			if list, ok := readControllers(m.Mountpoint); ok && c.Existing == nil {
				c.Existing = list
			}
		}
	}
	c.Container = readContainer()
	c.Session = readSession(uid)
	if isCgroup2() {
		c.findParent()
		c.findManager(uid)
	}
	return c
}

// quickCgroups reads what a launch needs; nil where no group can be made.
func quickCgroups(uid uint32) *Cgroups {
	if !isCgroup2() {
		return nil
	}
	c := &Cgroups{Layout: "v2"}
	var buf [16 << 10]byte
	text, err := readSmall("/proc/self/cgroup", buf[:])
	if err != nil {
		c.Problem = fmt.Sprintf("/proc/self/cgroup: %v", err)
		return c
	}
	c.Layout, c.Own = cgroupLayout(text)
	if c.Own != "" {
		c.findParent()
		c.findManager(uid)
	}
	return c
}

func isCgroup2() bool {
	var st unix.Statfs_t
	return unix.Statfs(cgroupMount, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// cgroupLayout reads /proc/self/cgroup: lines of number:controllers:path, the
// number of version 2 being 0. See cgroups(7).
func cgroupLayout(text string) (layout, own string) {
	v1 := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			own = path
			continue
		}
		// A hierarchy of v1 without a controller is systemd's own book-keeping.
		if fields := strings.SplitN(line, ":", 3); len(fields) == 3 && fields[1] != "" && !strings.HasPrefix(fields[1], "name=") {
			v1 = true
		}
	}
	switch {
	case own != "" && v1:
		return "hybrid", own
	case own != "":
		return "v2", own
	case v1:
		return "v1", ""
	}
	return "none", ""
}

// find looks for the caller's cgroup below a mount of version 2.
func (c *Cgroups) find(m *mountinfo.Info) {
	below := strings.TrimPrefix(c.Own, strings.TrimSuffix(m.Root, "/"))
	dir := strings.TrimSuffix(m.Mountpoint+below, "/")
	var buf [4096]byte
	controllers, err := readSmall(dir+"/cgroup.controllers", buf[:])
	if err != nil {
		return
	}
	c.Dir = dir
	c.Controllers = strings.Fields(controllers)
	c.Delegated = mayDivide(dir)
}

// mayDivide tells whether the caller may make groups below a directory and move
// its processes there.
func mayDivide(dir string) bool {
	for _, name := range [...]string{"", "/cgroup.procs", "/cgroup.subtree_control"} {
		if unix.Access(dir+name, unix.W_OK) != nil {
			return false
		}
	}
	return true
}
