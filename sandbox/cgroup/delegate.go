package cgroup

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Delegation gives the job a group to divide, one level below its leaf:
//
//	brig-1234-5f3a9c01.scope    the limits
//	├── init
//	└── job                     pids.max, memory.oom.group, cgroup.max.*
//	    └── ns                  the job, and the root of what it sees
//
// Every limit lies above that root, which is all that the job can name: the
// files of the root itself may be the job's to write, where the kernel's mount
// option nsdelegate does not forbid it, and so hold none.
type Delegation struct {
	// Owner is given the group, where the caller is root; nil leaves it to the
	// caller, whose own id the job must then have.
	Owner *Owner
}

// Owner is a user and a group id, as the host knows them.
type Owner struct{ UID, GID uint32 }

// nsLeaf is the group that the job may divide.
const nsLeaf = "ns"

// How many groups, and how deep, a job may make below its leaf. Each costs the
// kernel memory, and a worker for pressure that counts as none of its processes.
const (
	maxDescendants = 64
	maxDepthBelow  = 8
)

// delegatable are the controllers that the job gets as far as they are there.
var delegatable = []string{"cpu", "cpuset", "io", "memory", "pids"}

// delegate makes the job's own part. It is called when no process is in the
// group itself, nor in the job's leaf.
func (g *Group) delegate() error {
	for _, l := range []struct {
		file  string
		value int
	}{{"cgroup.max.descendants", maxDescendants}, {"cgroup.max.depth", maxDepthBelow}} {
		if err := writeFile(g.job, l.file, strconv.Itoa(l.value)); err != nil {
			return failed(err, "", "bounding the control groups of the job")
		}
	}
	passAll(g.dir)
	passAll(g.job)
	if err := unix.Mkdirat(g.job, nsLeaf, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return failed(err, "", "making the control group that the job divides")
	}
	var err error
	if g.ns, err = openGroup(g.job, nsLeaf); err != nil {
		return failed(err, "", "opening the control group that the job divides")
	}
	if g.whole, err = openat(g.dir, "cgroup.procs", unix.O_RDONLY); err != nil {
		return failed(err, "", "opening the control group")
	}
	return g.give()
}

// give makes the owner the owner of what delegation takes: the directory and
// the files that cgroup-v2.rst names.
func (g *Group) give() error {
	o := g.cfg.Delegate.Owner
	if o == nil {
		return nil
	}
	for _, name := range []string{".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
		if err := unix.Fchownat(g.ns, name, int(o.UID), int(o.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return failed(err, "", "giving the job its control group")
		}
	}
	return nil
}

// passAll passes on what a group has, one by one: a controller that cannot be
// passed on is not there for the job.
func passAll(dir int) {
	text, err := readFile(dir, "cgroup.controllers")
	if err != nil {
		return
	}
	have := strings.Fields(text)
	for _, c := range delegatable {
		for _, h := range have {
			if c == h {
				_ = writeFile(dir, "cgroup.subtree_control", "+"+c)
			}
		}
	}
}
