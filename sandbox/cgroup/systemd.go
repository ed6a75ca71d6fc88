package cgroup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// managerTime bounds what a service manager is waited for. One that is busy
// answers in some milliseconds; one that takes longer hangs.
const managerTime = 5 * time.Second

// stopTime is how long a job may take to end when the scope is stopped from
// outside, before everything in it is killed.
const stopTime = 2 * time.Second

// mountPoint is where version 2 is mounted on every host that systemd manages.
const mountPoint = "/sys/fs/cgroup"

// systemd asks a service manager for a transient scope. The manager removes it,
// with all directories in it, when the last process is gone, whatever becomes
// of brig: see systemd.scope(5) and the manager's D-Bus interface,
// org.freedesktop.systemd1(5).
type systemd struct{ bus *bus }

// prepare connects while the process is still being made.
func (s *systemd) prepare(_ context.Context, g *Group) error {
	b, err := dial(g.cfg.Socket, g.cfg.Bus, time.Now().Add(managerTime))
	if err != nil {
		return s.failed(err, g)
	}
	s.bus = b
	return nil
}

func (s *systemd) failed(err error, g *Group) error {
	return failed(fmt.Errorf("%w: %w", ErrManager, err),
		"see whether it answers: systemctl --user status (for root: systemctl status); or choose another mechanism with --cgroup-manager",
		"asking systemd at %s for a scope", g.cfg.Socket)
}

func (s *systemd) adopt(ctx context.Context, g *Group, pid int) error {
	defer s.hangUp()
	stop := context.AfterFunc(ctx, s.bus.interrupt)
	defer stop()
	s.bus.deadline = time.Now().Add(managerTime)
	properties, err := scopeProperties(g.cfg, pid)
	if err != nil {
		return err
	}
	unit := g.dirName()
	if err := s.bus.startTransientUnit(unit, properties); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return s.failed(err, g)
	}
	where, err := pathOf(pid)
	if err == nil && path.Base(where) != unit {
		err = errors.New("the process is still in " + where)
	}
	if err != nil {
		return s.failed(err, g)
	}
	if g.dir, err = openGroup(unix.AT_FDCWD, path.Join(mountPoint, where)); err != nil {
		return s.failed(fmt.Errorf("opening the scope %s: %w", unit, err), g)
	}
	for _, limit := range g.cfg.Limits {
		if err := g.set(g.dir, "", limit); err != nil {
			return err
		}
	}
	s.stopStale(g)
	return g.makeLeaves()
}

// stopStale stops scopes that their manager will never end by itself: brig was
// killed while it was asking, and init was gone before the manager could move
// it, so that no process was ever seen to leave. What fails is left for the
// next one.
func (s *systemd) stopStale(g *Group) {
	slice, err := openat(g.dir, "..", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer unix.Close(slice)
	names, err := list(slice)
	if err != nil {
		return
	}
	for _, name := range names {
		base, isScope := strings.CutSuffix(name, ".scope")
		if !isScope || !isOwnName(base) || name == g.dirName() || ownerLives(base) {
			continue
		}
		dir, err := openGroup(slice, name)
		if err != nil {
			continue
		}
		events, err := pairs(dir, "cgroup.events")
		unix.Close(dir)
		if err == nil && count(events, "populated") == 0 && s.bus.stopUnit(name) != nil {
			return
		}
	}
}

// ownerLives tells whether the brig that has chosen a name may still be there.
func ownerLives(name string) bool {
	text, _, _ := strings.Cut(strings.TrimPrefix(name, namePrefix), "-")
	pid, err := strconv.Atoi(text)
	return err != nil || !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

func (s *systemd) hangUp() {
	if s.bus != nil {
		s.bus.close()
		s.bus = nil
	}
}

// remove leaves the rest to the manager, which sees the last process go. What a
// job has made is taken away here, and the scope with it: the manager may have
// tried before, and tries once.
func (s *systemd) remove(g *Group) error {
	s.hangUp()
	if g.cfg.Delegate == nil || g.dir < 0 {
		return nil
	}
	err := removeDelegated(g.dir, rmdirPatience)
	if slice, serr := openat(g.dir, "..", unix.O_RDONLY|unix.O_DIRECTORY); serr == nil {
		if err == nil {
			err = removeTree(slice, g.dirName(), g.dir, rmdirPatience)
		}
		sweepScopes(slice, g.dirName())
		unix.Close(slice)
	}
	return err
}

// sweepScopes removes what brigs that were killed have left: scopes that their
// manager could not remove, since a job had shut its groups. One that has no
// process any more is of no use to anybody.
func sweepScopes(slice int, own string) {
	names, err := list(slice)
	if err != nil {
		return
	}
	for _, name := range names {
		base, isScope := strings.CutSuffix(name, ".scope")
		if !isScope || !isOwnName(base) || name == own {
			continue
		}
		dir, err := openGroup(slice, name)
		if err != nil {
			continue
		}
		events, err := pairs(dir, "cgroup.events")
		// A new scope has no process yet, but no leaf either.
		if err == nil && count(events, "populated") == 0 && unix.Faccessat(dir, jobLeaf+"/"+nsLeaf, unix.F_OK, 0) == nil {
			_ = removeTree(slice, name, dir, 0)
		}
		unix.Close(dir)
	}
}

// scopeProperties are what the scope is made with: the limits among them, so
// that systemctl status tells the truth and a reload of the manager keeps them.
func scopeProperties(cfg *Config, pid int) ([]property, error) {
	list := []property{
		{"Description", "s", "brig sandbox"},
		{"Slice", "s", cfg.Parent},
		{"PIDs", "au", []uint32{uint32(pid)}},
		{"Delegate", "b", true},
		{"CollectMode", "s", "inactive-or-failed"},
		{"TimeoutStopUSec", "t", uint64(stopTime / time.Microsecond)},
	}
	for _, s := range cfg.Limits {
		more, err := s.properties()
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}
