package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// print writes the table for people.
func (d *diagnosis) print(w io.Writer, verbose bool) error {
	p := doctorPrinter{verbose: verbose, colour: wantsColour(w)}
	p.host(d.host)
	for _, section := range []struct {
		title string
		rows  []row
	}{
		{"MECHANISMS", d.mechanismRows()},
		{"CONTROL GROUPS", d.cgroupRows()},
		{"LIMITS", d.limitRows()},
		{"POLICIES", d.policyRows()},
	} {
		p.section(section.title, section.rows)
	}
	if d.defaultRuns == nil {
		p.line("The default policy runs on this host.")
	} else {
		p.line("The default policy does NOT run on this host.")
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

// wantsColour: only for a terminal, and not where NO_COLOR (no-color.org) asks
// for none.
func wantsColour(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

type doctorPrinter struct {
	b       strings.Builder
	verbose bool
	colour  bool
}

// line writes a line whose strings come from outside.
func (p *doctorPrinter) line(s string) {
	p.b.WriteString(sandbox.SafeText(s))
	p.b.WriteByte('\n')
}

func (p *doctorPrinter) host(h *probe.Host) {
	user := fmt.Sprintf("uid %d", h.UID)
	if h.User != "" {
		user = h.User + " (" + user + ")"
	}
	p.line(fmt.Sprintf("Linux %s on %s, %s", h.Kernel.Release, h.Arch, user))
	if p.verbose {
		p.line(fmt.Sprintf("CPUs: %d of %d, memory: %d MiB", len(h.CPUs), h.Online, h.MemoryTotal>>20))
		if ids := h.SubIDs.UID; len(ids) > 0 {
			p.line(fmt.Sprintf("subordinate uids: %v, gids: %v", ids, h.SubIDs.GID))
		}
	}
	p.b.WriteByte('\n')
}

// The columns: names, states, details.
const (
	nameWidth  = 29
	stateWidth = 9
)

func (p *doctorPrinter) section(title string, rows []row) {
	p.line(title)
	for _, r := range rows {
		fmt.Fprintf(&p.b, "  %-*s", nameWidth, sandbox.SafeText(r.name))
		padding := strings.Repeat(" ", max(1, stateWidth-len(r.state)))
		detail := sandbox.SafeText(r.detail)
		if detail == "" {
			padding = ""
		}
		p.b.WriteString(p.paint(r.state) + padding + detail + "\n")
		p.below("cause: ", r.cause)
		p.below("fix: ", r.fix)
		if p.verbose {
			for _, v := range r.verbose {
				p.below("", v)
			}
		}
	}
	p.b.WriteByte('\n')
}

// below writes text, of several lines perhaps, indented under a row.
func (p *doctorPrinter) below(label, text string) {
	if text == "" {
		return
	}
	for line := range strings.Lines(text) {
		p.line("      " + label + strings.TrimRight(line, "\r\n"))
		label = strings.Repeat(" ", len(label))
	}
}

// paint colours a state: green, yellow, red.
func (p *doctorPrinter) paint(s state) string {
	code := map[state]string{works: "32", weaker: "33", missing: "31", refused: "31", unknown: "2", unused: "2"}[s]
	if !p.colour {
		return string(s)
	}
	return "\x1b[" + code + "m" + string(s) + "\x1b[0m"
}
