package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupfs makes directories where the caller owns a part of the tree. Each is
// locked by its maker for as long as that lives, so that what a killed brig
// leaves behind can be told from what is in use.
type cgroupfs struct{ parent int }

func (c *cgroupfs) prepare(_ context.Context, g *Group) error {
	var err error
	if c.parent, err = openGroup(unix.AT_FDCWD, g.cfg.Parent); err != nil {
		return failed(err, "see brig doctor", "opening the control group %s", g.cfg.Parent)
	}
	if err := c.passOn(g); err != nil {
		return err
	}
	if g.cfg.Delegate != nil {
		passAll(c.parent)
	}
	if err := c.make(g); err != nil {
		return failed(err, "see brig doctor", "making a control group in %s", g.cfg.Parent)
	}
	for _, s := range g.cfg.Limits {
		if err := g.set(g.dir, "", s); err != nil {
			return err
		}
	}
	if err := g.makeLeaves(); err != nil {
		return err
	}
	return g.finishLeaves()
}

// make makes the directory and locks it. Somebody who sweeps may find it before
// it is locked, and take it: then there is another one.
func (c *cgroupfs) make(g *Group) error {
	for try := 0; ; try++ {
		err := unix.Mkdirat(c.parent, g.name, 0o755)
		if err == nil {
			err = c.lock(g)
		}
		if err == nil {
			return nil
		}
		if try >= 10 || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if g.name, err = newName(); err != nil {
			return err
		}
	}
}

// lock opens the directory and locks it, and looks that it is still there.
func (c *cgroupfs) lock(g *Group) error {
	dir, err := openGroup(c.parent, g.name)
	if err != nil {
		return err
	}
	var open, named unix.Stat_t
	if err = unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		err = errors.Join(unix.Fstat(dir, &open), unix.Fstatat(c.parent, g.name, &named, unix.AT_SYMLINK_NOFOLLOW))
	}
	if err == nil && open.Ino != named.Ino {
		err = unix.ENOENT
	}
	if err != nil {
		unix.Close(dir)
		return err
	}
	g.dir = dir
	return nil
}

// passOn lets groups below the parent have the controllers that the limits
// need. What the parent passes on already costs only a look.
func (c *cgroupfs) passOn(g *Group) error {
	text, err := readFile(c.parent, "cgroup.subtree_control")
	if err != nil {
		return failed(err, "see brig doctor", "reading what %s passes on", g.cfg.Parent)
	}
	have := strings.Fields(text)
	var missing []string
	for _, s := range append(slices.Clone(g.cfg.Limits), g.cfg.Job...) {
		if name := s.Controller(); !slices.Contains(have, name) {
			have = append(have, name)
			missing = append(missing, "+"+name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	for try := 0; ; try++ {
		err = writeFile(c.parent, "cgroup.subtree_control", strings.Join(missing, " "))
		if !errors.Is(err, unix.EBUSY) || try >= 10 {
			break
		}
		// A group with processes of its own passes nothing on. Those in it are
		// the caller's service, brig among them: they get a leaf.
		if err := c.vacate(); err != nil {
			return failed(err, "start brig in a control group of its own below "+g.cfg.Parent,
				"moving the processes of %s into a leaf", g.cfg.Parent)
		}
	}
	if err != nil {
		return failed(err, "see brig doctor", "passing controllers on in %s", g.cfg.Parent)
	}
	return nil
}

// callersLeaf is where processes go that were in the parent itself.
const callersLeaf = "callers"

// vacate moves the processes of the parent into a leaf of it.
func (c *cgroupfs) vacate() error {
	if err := unix.Mkdirat(c.parent, callersLeaf, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	leaf, err := openGroup(c.parent, callersLeaf)
	if err != nil {
		return err
	}
	defer unix.Close(leaf)
	text, err := readFile(c.parent, "cgroup.procs")
	if err != nil {
		return err
	}
	// One cut short would be another process's.
	for _, pid := range strings.Fields(wholeLines(text)) {
		if pid == "0" {
			return errors.New("it holds a process that cannot be seen from here")
		}
		if err := writeFile(leaf, "cgroup.procs", pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// adopt has nothing to do: a process that was not cloned into its leaf is moved
// by Join.
func (c *cgroupfs) adopt(context.Context, *Group, int) error { return nil }

func (c *cgroupfs) remove(g *Group) error {
	if c.parent < 0 {
		return nil
	}
	defer unix.Close(c.parent)
	var err error
	if g.dir >= 0 {
		err = removeTree(c.parent, g.name, g.dir, rmdirPatience)
	}
	c.sweep(g.name)
	return err
}

// sweep removes the groups of brigs that were killed: those whose lock is free.
// What cannot be removed now is left to the next one.
func (c *cgroupfs) sweep(own string) {
	names, err := list(c.parent)
	if err != nil {
		return
	}
	for _, name := range names {
		if !isOwnName(name) || name == own {
			continue
		}
		dir, err := openGroup(c.parent, name)
		if err != nil {
			continue
		}
		if unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB) == nil {
			// Its processes end with their brig; this is for one that does not.
			_ = writeFile(dir, "cgroup.kill", "1")
			_ = removeTree(c.parent, name, dir, 0)
		}
		unix.Close(dir)
	}
}

// maxListed bounds how much of a directory is read for a sweep, in bytes.
const maxListed = 1 << 20

// list lists the names in a directory.
func list(dir int) ([]string, error) {
	fd, err := openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 16<<10)
	for read := 0; read < maxListed; {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			return nil, fmt.Errorf("listing a control group: %w", err)
		}
		if n == 0 {
			break
		}
		read += n
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	return names, nil
}
