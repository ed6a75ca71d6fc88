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
	// Existing are the controllers that version 2 has at the top of what is
	// seen of it: the kernel's own, outside of a container.
	Existing []string `json:"existing,omitempty"`
	// Container names the container around the caller, "" where there is none.
	Container string  `json:"container,omitempty"`
	Manager   Manager `json:"manager,omitzero"`
	// Drivers are the ways in which a sandbox could get a group of its own:
	// presumed, or found by trying.
	Drivers []CgroupDriver `json:"drivers,omitempty"`
	// Problem says why nothing could be found out.
	Problem string `json:"problem,omitempty"`
}

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
	c.Manager = readManager(uid, mounts)
	c.UserManager = c.Manager.Systemd && c.Manager.Silent == ""
	return c
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
	controllers, ok := readControllers(dir)
	if !ok {
		return
	}
	c.Dir, c.Controllers = dir, controllers
	c.Delegated = true
	for _, name := range [...]string{"", "/cgroup.procs", "/cgroup.subtree_control"} {
		if unix.Access(dir+name, unix.W_OK) != nil {
			c.Delegated = false
		}
	}
}
