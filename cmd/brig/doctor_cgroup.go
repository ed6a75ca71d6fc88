package main

import (
	"strings"

	"github.com/brig-sandbox/brig/sandbox/probe"
)

// cgroupRows tell how a sandbox gets a control group, by which driver and why,
// and which controllers it has. They go by the Host's drivers, whether those
// were tried or presumed.
func (d *diagnosis) cgroupRows() []row {
	h := d.host
	if h.Cgroups == nil {
		return nil
	}
	chosen, why := h.ChosenDriver()
	var rows []row
	for _, driver := range h.CgroupDrivers() {
		rows = append(rows, driverRow(driver, chosen))
	}
	use := row{name: "driver in use", state: works, detail: string(chosen.Name) + ": " + why}
	if chosen.Name == probe.DriverNone {
		// The causes stand with the drivers.
		use.state, use.detail = weaker, "none: rlimits, affinity and brig's supervisor hold what limits they can"
	}
	use.verbose = []string{"found: " + describeCgroups(h.Cgroups)}
	rows = append(rows, use)
	if chosen.Name == probe.DriverNone {
		return rows
	}
	missed := chosen.MissingControllers(probe.UsefulControllers()...)
	for _, name := range probe.UsefulControllers() {
		r := row{name: "controller " + name, state: works, verbose: []string{controls(name)}}
		for i, m := range missed {
			if m != name {
				continue
			}
			r.state, r.detail, r.verbose = missing, "not held by the kernel: "+controls(name), nil
			r.cause, r.fix = h.Undelegated(string(chosen.Name), name)
			if i > 0 && r.fix == fixOf(rows) {
				r.fix = "" // said already
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// fixOf is the last fix that the rows tell.
func fixOf(rows []row) string {
	for i := len(rows) - 1; i >= 0; i-- {
		if rows[i].fix != "" {
			return rows[i].fix
		}
	}
	return ""
}

// driverRow tells of one driver. What another one stands in for is not missing.
func driverRow(driver, chosen probe.CgroupDriver) row {
	r := row{name: "driver " + string(driver.Name), state: works}
	switch {
	case driver.OK && driver.Name == chosen.Name:
		r.verbose = []string{"controllers: " + strings.Join(driver.Controllers, ", ")}
	case driver.OK && chosen.Name == probe.DriverNone:
		r.detail, r.cause, r.fix = "only where it is asked for", chosen.Cause, chosen.Fix
	case driver.OK:
		r.detail = "not needed"
	case chosen.Name != probe.DriverNone:
		r.state, r.detail = unused, driver.Cause
	default:
		r.state, r.detail, r.cause, r.fix = missing, "", driver.Cause, driver.Fix
	}
	return r
}

// controls says what a controller is for.
func controls(name string) string {
	switch name {
	case "cpu":
		return "shares and quotas of CPU time"
	case "cpuset":
		return "binding to CPUs and memory nodes"
	case "io":
		return "transfers of block devices"
	case "memory":
		return "memory and swap"
	default:
		return "processes"
	}
}

// describeCgroups says what was found of them.
func describeCgroups(c *probe.Cgroups) string {
	if c.Problem != "" {
		return c.Problem
	}
	found := c.Layout
	if c.Dir != "" {
		found += ", own cgroup " + c.Dir
		if len(c.Controllers) > 0 {
			found += " with " + strings.Join(c.Controllers, ", ")
		}
		if c.Delegated {
			found += ", the caller's to divide"
		} else {
			found += ", not the caller's to divide"
		}
	}
	if c.Container != "" {
		found += ", in a container (" + c.Container + ")"
	}
	switch {
	case c.Manager != "":
		return found + ", the " + c.Manager + "'s service manager at " + c.Socket
	case c.Session.Systemd:
		return found + ", systemd without a manager of the caller's"
	}
	return found + ", no systemd"
}
