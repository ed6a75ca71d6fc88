package cgroup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The drivers, by the names that users know from other tools.
const (
	Systemd  = "systemd"
	Cgroupfs = "cgroupfs"
)

// The leaves of a group.
const (
	initLeaf = "init"
	jobLeaf  = "job"
)

// Config says what group to make.
type Config struct {
	// Driver is Systemd or Cgroupfs.
	Driver string
	// Parent is, for Cgroupfs, the directory below which the group is made, and
	// for Systemd the slice, "brig.slice".
	Parent string
	// Socket is, for Systemd, the manager's own socket, or a bus on which it
	// listens where Bus is set.
	Socket string
	Bus    bool
	// Limits are those of the whole group, Job those of the job's leaf.
	Limits, Job []Setting
	// Delegate gives the job a group below its leaf to divide: see Delegation.
	Delegate *Delegation
}

// Group is the control group of one sandbox. Prepare makes it, Join puts init
// into it, Close removes it. Its methods may be called from any goroutine after
// Join.
type Group struct {
	cfg    *Config
	name   string
	driver driver
	path   string // as /proc/PID/cgroup names it; set by Join

	// Descriptors of directories; -1 until they are made.
	dir, init, job int
	procs          int // cgroup.procs of what the job enters, for writing
	// Where the job may divide a group: that, and the whole group's cgroup.procs.
	ns, whole int
	// readBack is what the files said after the limits were set.
	readBack map[string]string

	mu     sync.Mutex // of what follows, and of the descriptors against Close
	closed bool
}

// driver makes and removes the directories.
type driver interface {
	// prepare does what can be done before there is a process.
	prepare(ctx context.Context, g *Group) error
	// adopt makes what prepare has not, with the process in it, and sets
	// g.dir. On return the limits of the group hold, or are written later.
	adopt(ctx context.Context, g *Group, pid int) error
	// remove takes away what nobody else does.
	remove(g *Group) error
}

// Prepare makes what of a group can be made before there is a process in it.
func Prepare(ctx context.Context, cfg *Config) (*Group, error) {
	g := &Group{cfg: cfg, dir: -1, init: -1, job: -1, procs: -1, ns: -1, whole: -1, readBack: map[string]string{}}
	var err error
	if g.name, err = newName(); err != nil {
		return nil, err
	}
	switch cfg.Driver {
	case Systemd:
		g.driver = &systemd{}
	case Cgroupfs:
		g.driver = &cgroupfs{parent: -1}
	default:
		return nil, fmt.Errorf("cgroup: no driver %q", cfg.Driver)
	}
	if err := g.driver.prepare(ctx, g); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

// newName is a name that no other group has.
func newName() (string, error) {
	var random [4]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return "", failed(err, "", "choosing a name for the control group")
	}
	return namePrefix + strconv.Itoa(os.Getpid()) + "-" + hex.EncodeToString(random[:]), nil
}

// namePrefix begins the name of every group of brig's.
const namePrefix = "brig-"

// isOwnName tells whether newName could have chosen a name. What is called
// likewise, such as the scope of a service manager, is another's.
func isOwnName(name string) bool {
	rest, ok := strings.CutPrefix(name, namePrefix)
	pid, random, dash := strings.Cut(rest, "-")
	return ok && dash && pid != "" && strings.Trim(pid, "0123456789") == "" &&
		len(random) == 8 && strings.Trim(random, "0123456789abcdef") == ""
}

// InitLeaf is a descriptor of the directory into which init is cloned, or -1
// where Join moves it.
func (g *Group) InitLeaf() int { return g.init }

// Join puts the process, which is init, into the group and insists that it is
// there. It is called before the process's ids change, since a manager takes
// only processes of its own user. The process must be a child of the caller
// that has not been waited for, so that its number stands for nothing else.
func (g *Group) Join(ctx context.Context, pid int) error {
	if err := g.driver.adopt(ctx, g, pid); err != nil {
		return err
	}
	if g.init < 0 {
		if err := g.makeLeaves(); err != nil {
			return err
		}
	}
	where, err := pathOf(pid)
	if err != nil {
		return failed(err, "", "reading which control group init is in")
	}
	inLeaf := func(path string) bool { return strings.HasSuffix(path, "/"+g.dirName()+"/"+initLeaf) }
	if !inLeaf(where) {
		if err := writeFile(g.init, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return failed(err, "", "moving init into its control group")
		}
		if where, err = pathOf(pid); err != nil {
			return failed(err, "", "reading which control group init is in")
		}
		if !inLeaf(where) {
			return failed(errors.New("it is in "+where), "run it again, and find out who moves processes", "moving init into its control group")
		}
	}
	g.path = strings.TrimSuffix(where, "/"+initLeaf)
	return g.finishLeaves()
}

// dirName is the last part of the group's path.
func (g *Group) dirName() string {
	if g.cfg.Driver == Systemd {
		return g.name + ".scope"
	}
	return g.name
}

// makeLeaves makes the two leaves below g.dir. The group itself may hold init
// until it is moved.
func (g *Group) makeLeaves() error {
	for _, leaf := range []struct {
		name string
		fd   *int
	}{{initLeaf, &g.init}, {jobLeaf, &g.job}} {
		if err := unix.Mkdirat(g.dir, leaf.name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return failed(err, "", "making the leaf %s of the control group", leaf.name)
		}
		fd, err := openGroup(g.dir, leaf.name)
		if err != nil {
			return failed(err, "", "opening the leaf %s of the control group", leaf.name)
		}
		*leaf.fd = fd
	}
	return nil
}

// finishLeaves gives the job's leaf its limits. Controllers can be passed on
// only when no process is left in the group itself.
func (g *Group) finishLeaves() error {
	if g.procs >= 0 {
		return nil // done before the clone
	}
	var pass []string
	for _, s := range g.cfg.Job {
		if c := "+" + s.Controller(); !slices.Contains(pass, c) {
			pass = append(pass, c)
		}
	}
	if len(pass) > 0 {
		if err := writeFile(g.dir, "cgroup.subtree_control", strings.Join(pass, " ")); err != nil {
			return failed(err, "", "passing controllers on to the job's leaf")
		}
	}
	for _, s := range g.cfg.Job {
		if err := g.set(g.job, jobLeaf+"/", s); err != nil {
			return err
		}
	}
	if g.cfg.Delegate != nil {
		if err := g.delegate(); err != nil {
			return err
		}
	}
	_, dir := g.JobLeaf()
	var err error
	if g.procs, err = openat(dir, "cgroup.procs", unix.O_WRONLY); err != nil {
		return failed(err, "", "opening the job's control group")
	}
	return nil
}

// JobLeaf gives descriptors of the group that the job enters: its cgroup.procs,
// which takes whoever writes "0" to it with the rights of the process that
// opened it, and the directory. They stay the group's.
func (g *Group) JobLeaf() (procs, dir int) {
	if g.cfg.Delegate != nil {
		return g.procs, g.ns
	}
	return g.procs, g.job
}

// Procs is the whole group's cgroup.procs, open for reading, where the job may
// divide its own part; else -1. It stays the group's.
func (g *Group) Procs() int { return g.whole }

// set writes a setting and reads it back.
func (g *Group) set(dir int, prefix string, s Setting) error {
	said, err := readFile(dir, s.File)
	if errors.Is(err, unix.ENOENT) {
		return failed(err, "sudo brig doctor --fix-script shows how the controller is delegated",
			"%s = %s: the controller %s is not given to this control group", s.File, s.Value, s.Controller())
	}
	if err == nil && !s.holds(said) {
		if err = writeFile(dir, s.File, s.Value); err == nil {
			said, err = readFile(dir, s.File)
		}
	}
	if err != nil {
		return failed(err, fixFor(s, err), "setting %s = %s", s.File, s.Value)
	}
	if !s.holds(said) {
		return failed(fmt.Errorf("the kernel says %q", strings.TrimSpace(said)), "", "setting %s = %s", s.File, s.Value)
	}
	if s.File == CPUSet || s.File == CPUSetMems {
		effective, err := readFile(dir, s.File+".effective")
		if err == nil && !sameList(s.Value, strings.TrimSpace(effective)) {
			err = fmt.Errorf("the enclosing control group leaves only %q of it", strings.TrimSpace(effective))
		}
		if err != nil {
			return failed(err, "choose among what cpuset.cpus.effective and cpuset.mems.effective of that group list", "setting %s = %s", s.File, s.Value)
		}
	}
	if s.File == IOMax {
		said = ioLine(said, s.Value)
	}
	key := prefix + s.File
	if old := g.readBack[key]; old != "" {
		said = old + "\n" + strings.TrimSpace(said)
	}
	g.readBack[key] = strings.TrimSpace(said)
	return nil
}

// ioLine is the line of io.max about the device of a setting.
func ioLine(said, value string) string {
	device, _, _ := strings.Cut(value, " ")
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, device+" ") {
			return line
		}
	}
	return said
}

func fixFor(s Setting, err error) string {
	switch {
	case s.File == IOMax && errors.Is(err, unix.ENODEV):
		return "name a whole disk: the kernel limits no partition, and no file system without a block device"
	case errors.Is(err, unix.ERANGE) || errors.Is(err, unix.EINVAL):
		return "the value is outside of what the kernel takes: see cgroup-v2.rst"
	case errors.Is(err, unix.ENODEV):
		return "the control group was removed by somebody else: run it again"
	}
	return ""
}

// ReadBack is what the kernel said of a file of the group, or with onJob of the
// job's leaf, after it was set; "" where it was not.
func (g *Group) ReadBack(file string, onJob bool) string {
	if onJob {
		return g.readBack[jobLeaf+"/"+file]
	}
	return g.readBack[file]
}

// Kill ends every process of the group, also while they fork: see cgroup.kill
// in cgroup-v2.rst. It returns nil for a group that is gone or not made yet.
func (g *Group) Kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.dir < 0 {
		return nil
	}
	err := writeFile(g.dir, "cgroup.kill", "1")
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// Freeze stops the job's processes, or lets them go on. It returns when the
// kernel has been told; they stop as they leave the kernel.
func (g *Group) Freeze(frozen bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.job < 0 {
		return os.ErrProcessDone
	}
	value := "0"
	if frozen {
		value = "1"
	}
	return writeFile(g.job, "cgroup.freeze", value)
}

// Close removes the group. No process of it may be left but those that are
// about to end. It may be called more than once.
func (g *Group) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	for _, fd := range []int{g.procs, g.init, g.job, g.ns, g.whole} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	err := g.driver.remove(g)
	if g.dir >= 0 {
		unix.Close(g.dir)
	}
	return err
}

// pathOf is the group of a process as /proc/PID/cgroup names it.
func pathOf(pid int) (string, error) {
	text, err := readFile(unix.AT_FDCWD, "/proc/"+strconv.Itoa(pid)+"/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(path, "\n"), nil
		}
	}
	return "", errors.New("it is in none of version 2")
}
