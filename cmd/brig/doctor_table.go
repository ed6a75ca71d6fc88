package main

import (
	"errors"
	"fmt"

	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// state is how a mechanism fares on this host.
type state string

// The states. Unknown is for what rests on something that is missing, refused
// for policies.
const (
	works   state = "works"
	weaker  state = "weaker"
	missing state = "missing"
	unknown state = "unknown"
	unused  state = "unused"
	refused state = "refused"
)

// row is one line of the doctor's table, with what is printed below it.
type row struct {
	name       string
	state      state
	detail     string
	cause, fix string
	verbose    []string // printed with --verbose only
}

// mechanism is what is told of a fact.
type mechanism struct {
	fact probe.FactName
	name string
	// instead is what brig does without it, or loses; empty where no job can
	// run without it.
	instead string
	about   string // for --verbose
}

func mechanisms() []mechanism {
	return []mechanism{
		{probe.MemfdExec, "init from memory", "", "init is executed from a sealed memory file"},
		{probe.UserNS, "user namespace", "", "with mount, process, IPC and UTS namespaces"},
		{probe.IDMaps, "mapping of several ids", "one id only: map single, or auto, which falls back to it", "newuidmap and newgidmap have written the caller's subordinate ids"},
		{probe.NetNS, "network namespace", "network host only: the job reaches what the caller reaches", "with its loopback up"},
		{probe.CgroupNS, "cgroup namespace", "the job sees the names of the host's cgroups", ""},
		{probe.MountAttr, "recursive read-only mounts", "", "open_tree and mount_setattr, with all that is mounted below"},
		{probe.Proc, "procfs of the sandbox's own", "", ""},
		{probe.Devpts, "devpts of the sandbox's own", "", ""},
		{probe.Overlay, "overlay", "no copy-on-write: directories can be given ro, rw or as a copy", "mounted with userxattr, upper directory on a tmpfs"},
		{probe.TmpfsXattr, "overlay upper on tmpfs", "what a job changes in a copy-on-write view lies in a directory of the host's, its size watched by brig, and is removed by a janitor", "a lower directory was removed and made again"},
		{probe.Seccomp, "seccomp filter", "", ""},
		{probe.Landlock, "Landlock", "file access rests on mounts, ids and the filter alone", ""},
	}
}

// mechanismRows tells of each mechanism that was tried.
func (d *diagnosis) mechanismRows() []row {
	h := d.host
	var rows []row
	for _, m := range mechanisms() {
		f := h.Fact(m.fact)
		r := row{name: m.name, state: works, cause: f.Cause, fix: f.Fix}
		switch {
		case f.OK && !f.Tried:
			r.state, r.detail = unknown, "nothing can be told of it without a user namespace"
		case f.OK:
			if m.about != "" {
				r.verbose = []string{m.about}
			}
		case m.fact == probe.MemfdExec && h.UserNS.OK:
			r.state, r.detail = weaker, "an installed copy of init is executed"
		case m.instead != "":
			r.state, r.detail = weaker, m.instead
		default:
			r.state, r.detail = missing, "no job can run without it"
		}
		if m.fact == probe.Landlock && f.OK {
			r.verbose = []string{fmt.Sprintf("ABI %d", h.LandlockABI)}
		}
		if m.fact == probe.IDMaps && f.OK && h.UID == 0 {
			r.verbose = []string{"root writes the maps itself, of a range that nobody has"}
		}
		rows = append(rows, r)
	}
	return rows
}

// limitRows tells for each limit which mechanism holds it here.
func (d *diagnosis) limitRows() []row {
	var rows []row
	for _, l := range d.limits {
		r := row{name: l.Limit, detail: l.Mechanism, verbose: l.Holes}
		switch {
		case l.EnforcedBy == sandbox.ByKernel:
			r.state = works
		case l.EnforcedBy == sandbox.BySupervisor:
			r.state, r.detail = weaker, "supervised: "+l.Mechanism
		case l.Asked == "unlimited":
			continue // the policy asks for nothing, which tells nothing
		default:
			r.state, r.detail = missing, "nothing holds it"
		}
		rows = append(rows, r)
	}
	if d.limitsProblem != nil {
		rows = append(rows, problemRow("limits", unknown, d.limitsProblem))
	}
	return rows
}

// policyRows tells which policies can be carried out.
func (d *diagnosis) policyRows() []row {
	var rows []row
	for _, v := range d.policies {
		switch {
		case v.err != nil:
			rows = append(rows, problemRow(v.name, refused, v.err))
		case v.name == "default":
			rows = append(rows, row{name: v.name, state: works, detail: "a command ran under it"})
		default:
			rows = append(rows, row{name: v.name, state: works, verbose: []string{"the host has what it needs; nothing was run"}})
		}
	}
	return rows
}

// problemRow tells of an error, with the fix it knows.
func problemRow(name string, s state, err error) row {
	var e *sandbox.Error
	if errors.As(err, &e) {
		return row{name: name, state: s, cause: e.Message, fix: e.Fix}
	}
	return row{name: name, state: s, cause: err.Error()}
}
