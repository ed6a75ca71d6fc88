package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/userns"
)

// Try finds by trying what Quick presumes: it starts a few sandboxes that do
// nothing but use each mechanism once, some ten milliseconds in all. Where
// something differs from the presumption it is remembered for later Quicks.
//
// A mechanism that does not work is a Fact with its cause and fix, not an
// error. Errors are those of Quick, and the context's.
func Try(ctx context.Context, q Question) (*Host, error) {
	q.SubIDs = true
	h, uts, err := basics()
	if err != nil {
		return nil, err
	}
	h.account()
	h.Online = online(len(h.CPUs))
	h.look(q.Paths)
	h.findIDs(ctx)
	if q.Mounts {
		if h.Mounts, err = ReadMounts(); err != nil {
			return nil, err
		}
	}
	h.lookDevices(q.Devices)
	if q.Nodes {
		h.Nodes = memoryNodes()
	}
	if h.Cgroups = ReadCgroups(h.UID); q.NoCgroups {
		h.Cgroups.Manager = ""
	}
	h.presume()
	t := &trier{host: h, transient: map[FactName]bool{}}
	if err := t.all(ctx); err != nil {
		return nil, err
	}
	h.placeUpper()
	h.Cgroups.Drivers = h.CgroupDrivers()
	h.remember(uts, t.transient)
	return h, nil
}

// trier is the state of one Try.
type trier struct {
	host *Host
	// transient are facts that failed for lack of something that may be there
	// again in a moment, and that must not be remembered.
	transient map[FactName]bool
}

func (t *trier) all(ctx context.Context) error {
	t.set(MemfdExec, tryMemfd())
	err := t.mechanisms(ctx)
	if err == nil && t.host.UserNS.OK {
		err = t.idMaps(ctx)
	}
	if err == nil && t.host.UserNS.OK && t.host.Scope.OK {
		err = t.scope(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("trying what this host can do: %w", err)
	}
	return nil
}

// set notes a fact that was tried.
func (t *trier) set(name FactName, err error) {
	f := t.host.Fact(name)
	*f = Fact{OK: err == nil, Tried: true}
	if err != nil {
		f.Cause, f.Fix = explain(name, err, t.host)
		t.transient[name] = isTransient(err)
	}
}

// isTransient tells whether an error is about what is used up now.
func isTransient(err error) bool {
	for _, errno := range [...]unix.Errno{unix.EAGAIN, unix.ENOMEM, unix.ENOSPC, unix.EMFILE, unix.ENFILE, unix.EINTR} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// mechanisms tries everything at once, takes out what failed, and tries the
// rest again, until all that is left works or nothing can.
func (t *trier) mechanisms(ctx context.Context) error {
	tr, done, err := t.newTrial()
	if err != nil {
		t.set(UserNS, err)
		return nil // a host that cannot is what is to be found out
	}
	defer done()
	presumed, failed := *t.host, map[FactName]bool{}
	for range len(FactNames()) + 1 {
		err := tr.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			break
		}
		name, err := t.blame(tr, err)
		failed[name] = true
		t.set(name, err)
		if name == UserNS {
			// Nothing can be told of what rests on it.
			user := t.host.UserNS
			*t.host = presumed
			t.host.UserNS = user
			return nil
		}
		delete(tr.facts, name)
	}
	t.set(UserNS, nil)
	for name := range tr.facts {
		t.set(name, nil)
	}
	if !failed[TmpfsXattr] && !tr.runsScript() {
		t.set(TmpfsXattr, tryTmpfsXattr())
	}
	return nil
}

// blame names the fact that a failure disproves. A network namespace is made by
// the same clone as all others, so a refused clone is tried without it first.
func (t *trier) blame(tr *trial, err error) (FactName, error) {
	var step *launch.StepError
	switch {
	case errors.Is(err, errScript):
		return TmpfsXattr, err
	case errors.As(err, &step):
		if step.Op.Kind == plan.Exec {
			// No shell that runs here: the attribute is tried another way.
			tr.shell = false
			return TmpfsXattr, tryTmpfsXattr()
		}
		if name := factOf(&step.Op); name != "" {
			return name, err
		}
	case errors.Is(err, launch.ErrClone) && tr.facts[NetNS]:
		return NetNS, err
	}
	return UserNS, err
}

// newTrial is the trial of everything, with one id. Root's is an unused one.
func (t *trier) newTrial() (tr *trial, done func(), err error) {
	h := t.host
	const inside = 1000
	tr = &trial{shell: Look("/bin/sh").Type != Absent, lower: lowerDir(), script: replaceLower, facts: map[FactName]bool{}}
	for _, name := range [...]FactName{NetNS, CgroupNS, MountAttr, Proc, Devpts, Seccomp, Landlock} {
		tr.facts[name] = true
	}
	if h.LandlockABI < 2 {
		delete(tr.facts, Landlock)
	}
	if tr.lower != "" {
		tr.facts[Overlay], tr.facts[TmpfsXattr] = true, true
	}
	if h.UID != 0 {
		ids := userns.Single(h.UID, h.GID, inside, inside)
		tr.ids = plan.IDs{Map: "single", By: plan.ByInit, CloneUID: h.UID, CloneGID: h.GID, UID: mapped(ids.UID), GID: mapped(ids.GID)}
		return tr, func() {}, nil
	}
	lease, err := userns.AllocateRange(userns.AllocateOptions{})
	if err != nil {
		return nil, nil, err
	}
	id := lease.Range.Start
	ids := userns.Single(id, id, inside, inside)
	tr.ids = plan.IDs{Map: "single", By: plan.ByParent, CloneUID: id, CloneGID: id, UID: mapped(ids.UID), GID: mapped(ids.GID)}
	tr.writeMaps = func(pid int) error { return userns.WriteMapsDirect(pid, ids) }
	return tr, func() { _ = lease.Close() }, nil
}

// scope asks the manager for a scope around a sandbox that does nothing.
func (t *trier) scope(ctx context.Context) error {
	tr, done, err := t.newTrial()
	if err != nil {
		return nil // mechanisms has found that out
	}
	defer done()
	tr.facts, tr.shell = map[FactName]bool{}, false
	tr.group = &cgroup.Config{Driver: cgroup.Systemd, Parent: plan.Slice, Socket: t.host.Cgroups.Socket, Bus: t.host.Cgroups.Bus}
	err = tr.run(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.set(Scope, err)
	return nil
}

// lowerDir is a directory that an overlay is tried on: one without mounts below
// it on nearly every host, since overlayfs refuses those.
func lowerDir() string {
	for _, dir := range [...]string{"/usr/share", "/usr/lib", "/usr", "/nix/store", "/etc"} {
		if Look(dir).Type == Dir {
			return dir
		}
	}
	return ""
}

// idMaps lets newuidmap and newgidmap map the caller's subordinate ids.
func (t *trier) idMaps(ctx context.Context) error {
	h := t.host
	if h.UID == 0 {
		t.set(IDMaps, nil) // root's own writing is what the trial before rested on
		return nil
	}
	for _, problem := range [...]string{h.SubIDsProblem, h.ToolsProblem} {
		if problem != "" {
			// A Problem's text, see userns.Problem.
			cause, fix, _ := strings.Cut(problem, "; fix: ")
			h.IDMaps = Fact{Tried: true, Cause: cause, Fix: fix}
			return nil
		}
	}
	ids, err := userns.Isolated(h.SubIDs)
	if err != nil {
		t.set(IDMaps, err)
		return nil
	}
	tr := &trial{facts: map[FactName]bool{}, ids: plan.IDs{
		Map: "isolated", By: plan.ByHelper, CloneUID: h.UID, CloneGID: h.GID, UID: mapped(ids.UID), GID: mapped(ids.GID),
	}}
	tr.writeMaps = func(pid int) error { return userns.WriteMaps(ctx, pid, ids, h.Tools) }
	err = tr.run(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.set(IDMaps, err)
	return nil
}
