package main

import (
	"cmp"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// groups says where control groups can be measured. run.sh prepares it where
// this host gives the user none.
type groups struct {
	ask         string // the socket of a process that measures
	manager     string // a manager's socket, as that process sees it
	parent      string // without ask: a directory that is the caller's to divide
	controllers []string
	why         string // why there are no groups at all
	whyManager  string
}

// find looks for what this host gives the caller itself.
func (g *groups) find() {
	if g.ask != "" || g.why != "" {
		return
	}
	h, err := probe.Quick(probe.Question{WhyNoCgroup: true})
	if err != nil {
		g.why = err.Error()
		return
	}
	c := h.Cgroups
	if c == nil || c.Layout != "v2" {
		g.why = "there are no control groups of version 2 alone"
		return
	}
	if c.Manager == "" || c.Bus {
		g.whyManager = "no manager listens for this user"
	} else {
		g.manager, g.controllers = c.Socket, c.ManagerControllers
	}
	if c.Parent != "" && c.Certain {
		g.parent = c.Parent
	}
}

// missing is a row that could not be measured here.
type missing struct{ name, why string }

// contenders are the rows about control groups: until a process is in one of
// its own, beside a process that is in none.
func (g *groups) contenders(program string) (list []*contender, lacks []missing) {
	g.find()
	const mkdir, scope = "in a group by mkdir + CLONE_INTO_CGROUP", "in a scope from systemd, over D-Bus"
	row := func(name string, args ...string) {
		argv := []string{program}
		if g.ask != "" {
			argv = append(argv, "ask", g.ask)
		}
		c := &contender{name: name, reads: true, argv: append(argv, args...)}
		if _, err := c.turn(); err != nil {
			why, _, _ := strings.Cut(err.Error(), "\n")
			lacks = append(lacks, missing{name, why})
			return
		}
		list = append(list, c)
	}
	row("in the caller's group", "none")
	switch {
	case g.ask != "":
		row(mkdir, cgroup.Cgroupfs)
	case g.parent != "":
		row(mkdir, cgroup.Cgroupfs, g.parent)
	default:
		lacks = append(lacks, missing{mkdir, cmp.Or(g.why, "no part of the tree is the caller's to divide")})
	}
	if g.manager != "" {
		row(scope, append([]string{cgroup.Systemd, g.manager}, g.controllers...)...)
	} else {
		lacks = append(lacks, missing{scope, cmp.Or(g.why, g.whyManager)})
	}
	return list, lacks
}
