package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

// fixFacts are what a script is made from, beside the Host.
type fixFacts struct {
	userns userns.Facts
	grant  userns.Grant
	// grantProblem says why nothing can be granted: a file with an error.
	grantProblem error
	// tool is what is wrong with newuidmap or newgidmap, nil for nothing.
	tool *userns.Problem
	// dropIn says that the drop-in is there as it should be.
	dropIn bool
}

// readFixFacts reads them from the host.
func readFixFacts(h *probe.Host) (fixFacts, error) {
	var f fixFacts
	var err error
	if f.userns, err = userns.ReadFacts(nil); err != nil {
		return f, err
	}
	if h.UID == 0 {
		return f, nil
	}
	f.grant, f.grantProblem = userns.MissingGrant(userns.LookupOptions{UID: h.UID, Name: h.User})
	if _, err := userns.FindTools(); err != nil {
		errors.As(err, &f.tool)
	}
	f.dropIn = sameFile(probe.DelegateDropIn, configs.DelegateDropIn)
	return f, nil
}

// fixScript is the script that mends a host.
type fixScript struct {
	host  *probe.Host
	facts fixFacts
	parts int
	body  strings.Builder
	// rest is what no script can mend, mended the facts that this one does.
	rest   []string
	mended map[probe.FactName]bool
	login  bool // the user has to log in again
	linger bool // a manager is started
}

// writeFixScript makes the script: POSIX sh, for an administrator to read and
// to run, with only the parts that this host needs. It is pure.
func writeFixScript(h *probe.Host, facts fixFacts) string {
	s := &fixScript{host: h, facts: facts, mended: map[probe.FactName]bool{}}
	s.sysctls()
	s.apparmor()
	s.tools()
	s.subids()
	s.delegate()
	s.manager()
	s.others()
	return s.text()
}

// part begins a part of the script, with its reason as comment.
func (s *fixScript) part(reason string) {
	s.parts++
	s.body.WriteString("\n")
	s.comment(fmt.Sprintf("%d. %s", s.parts, reason))
}

// comment writes lines of comment. What comes from outside stays in them.
func (s *fixScript) comment(text string) {
	for _, line := range wrap(sandbox.SafeText(text), 76) {
		s.body.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
}

// run writes commands as they are.
func (s *fixScript) run(lines ...string) {
	for _, line := range lines {
		s.body.WriteString(line + "\n")
	}
}

// file writes a file whose text is in the script to be read.
func (s *fixScript) file(path, text string) {
	end := "END"
	for slices.Contains(strings.Split(text, "\n"), end) {
		end += "_"
	}
	s.run("cat >"+probe.ShellQuote(path)+" <<'"+end+"'", strings.TrimSuffix(text, "\n"), end)
}

const (
	sysctlFile   = "/etc/sysctl.d/90-brig.conf"
	apparmorFile = "/etc/apparmor.d/brig"
)

func (s *fixScript) sysctls() {
	f := s.facts.userns
	var lines []string
	if f.MaxUserNamespaces == 0 {
		lines = append(lines, "user.max_user_namespaces = 15000")
	}
	if f.UnprivilegedClone == 0 && s.host.UID != 0 {
		lines = append(lines, "kernel.unprivileged_userns_clone = 1")
	}
	if len(lines) == 0 {
		return
	}
	s.mended[probe.UserNS] = true
	s.part("User namespaces are switched off by sysctl, and every sandbox is one. This allows them, now and after each start of the host.")
	s.file(sysctlFile, strings.Join(lines, "\n")+"\n")
	s.run("sysctl -p " + sysctlFile)
}

func (s *fixScript) apparmor() {
	f := s.facts.userns
	free := f.Label == "" || f.Label == "unconfined" || strings.HasPrefix(f.Label, "unprivileged_userns")
	if f.AppArmorRestrict != 1 || s.host.UID == 0 || s.host.UserNS.OK || !free {
		return
	}
	if strings.IndexFunc(f.Executable, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
		s.rest = append(s.rest, "AppArmor needs a profile for brig, and none can be written for a path with control characters: install brig elsewhere")
		return
	}
	s.mended[probe.UserNS] = true
	s.part("AppArmor keeps user namespaces from programs without a profile (kernel.apparmor_restrict_unprivileged_userns=1). " +
		"This one allows them to brig where it is installed now, and confines nothing else.")
	s.file(apparmorFile, userns.AppArmorProfileText(f.Executable))
	s.run("apparmor_parser -r " + apparmorFile)
}

func (s *fixScript) tools() {
	p := s.facts.tool
	if p == nil || !errors.Is(p, userns.ToolMissing) {
		return // what else is wrong with them is told with the fact
	}
	s.mended[probe.IDMaps] = true
	s.part("newuidmap and newgidmap are not installed. They map a user's subordinate ids, without which every process in a sandbox is the same user.")
	s.run(
		"if command -v apt-get >/dev/null; then apt-get install -y uidmap",
		"elif command -v dnf >/dev/null; then dnf install -y shadow-utils",
		"elif command -v zypper >/dev/null; then zypper install -y shadow",
		"elif command -v pacman >/dev/null; then pacman -S --noconfirm shadow",
		"elif command -v apk >/dev/null; then apk add shadow-uidmap",
		"else echo 'install newuidmap and newgidmap with the package manager of this system' >&2",
		"fi",
	)
}

func (s *fixScript) subids() {
	g := s.facts.grant
	if !g.UID && !g.GID {
		return
	}
	s.mended[probe.IDMaps] = true
	s.part(fmt.Sprintf("%s has no subordinate ids, without which every process in a sandbox is the same user. The range %s is free in /etc/subuid and in /etc/subgid.", s.user(), g.Range))
	for _, file := range []struct {
		missing    bool
		path, flag string
	}{{g.UID, "/etc/subuid", "--add-subuids"}, {g.GID, "/etc/subgid", "--add-subgids"}} {
		if file.missing {
			s.subid(file.path, file.flag)
		}
	}
}

// subid adds the range to one file. Who has no plain name is entered by number,
// which the tools know as well.
func (s *fixScript) subid(path, flag string) {
	r := s.facts.grant.Range
	owner := s.owner()
	line := fmt.Sprintf("printf '%%s\\n' %s >>%s", probe.ShellQuote(fmt.Sprintf("%s:%d:%d", owner, r.Start, r.Count)), path)
	s.run("if cut -d: -f1 "+path+" 2>/dev/null | grep -Fqx -e "+probe.ShellQuote(owner)+"; then",
		"\techo "+probe.ShellQuote(path+" has an entry by now")+" >&2")
	if owner == s.host.User {
		s.run("elif command -v usermod >/dev/null; then", "\tusermod "+flag+" "+r.String()+" -- "+probe.ShellQuote(owner))
	}
	s.run("else", "\t"+line, "fi")
}

// owner is the user's name if it can be one in a file of names, else the uid.
func (s *fixScript) owner() string {
	name := s.host.User
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' || r == ',' }) {
		return strconv.FormatUint(uint64(s.host.UID), 10)
	}
	return name
}

// user names the user in a sentence.
func (s *fixScript) user() string {
	if s.host.User == "" {
		return fmt.Sprintf("uid %d", s.host.UID)
	}
	return s.host.User
}

// systemd tells whether the host's systemd is what could help.
func (s *fixScript) systemd() bool {
	c := s.host.Cgroups
	return c != nil && c.Session.Systemd && c.Layout == "v2" && s.host.UID != 0
}

func (s *fixScript) delegate() {
	if !s.systemd() {
		return
	}
	c := s.host.Cgroups
	missing := slices.DeleteFunc(probe.UsefulControllers(), func(name string) bool {
		return slices.Contains(c.ManagerControllers, name) || c.Existing != nil && !slices.Contains(c.Existing, name)
	})
	if len(missing) == 0 || s.facts.dropIn && c.Session.Silent != "" {
		return
	}
	s.login = true
	if s.facts.dropIn {
		s.part(probe.DelegateDropIn + " is there, but the user's manager was started before it: " + strings.Join(missing, ", ") + " will be handed on when it is started anew.")
		s.run("systemctl daemon-reload")
		return
	}
	reason := "systemd does not hand all controllers to users: there is no " + strings.Join(missing, ", ")
	if c.Session.Silent != "" {
		reason = "What systemd hands on cannot be seen without a session; by itself it is cpu, memory and pids at most"
	}
	s.part(reason + ". The kernel holds a limit only where its controller is handed on: this drop-in adds those that brig uses.")
	s.run("mkdir -p "+probe.ShellQuote(dirOf(probe.DelegateDropIn)),
		"[ ! -e "+probe.ShellQuote(probe.DelegateDropIn)+" ] || cp -p "+probe.ShellQuote(probe.DelegateDropIn)+" "+probe.ShellQuote(probe.DelegateDropIn+".before-brig"))
	s.file(probe.DelegateDropIn, configs.DelegateDropIn)
	s.run("systemctl daemon-reload")
}

// dirOf is the directory of an absolute path.
func dirOf(path string) string { return path[:strings.LastIndexByte(path, '/')] }

func (s *fixScript) manager() {
	if !s.systemd() || s.host.Cgroups.Session.Silent != probe.NoRuntimeDir {
		return
	}
	s.linger = true
	s.part(fmt.Sprintf("No service manager runs for %s without a session, as after su, sudo -u or in a job of cron. "+
		"This keeps it running from the start of the host on. Not needed where brig is only used after a login.", s.user()))
	s.run("loginctl enable-linger -- "+probe.ShellQuote(s.owner()),
		fmt.Sprintf("echo 'without a session, set XDG_RUNTIME_DIR=/run/user/%d before brig is started'", s.host.UID))
}

// others lists what is missing and is not mended here.
func (s *fixScript) others() {
	add := func(what, cause, fix string) {
		if cause != "" {
			s.rest = append(s.rest, strings.TrimSuffix(what+": "+cause+"; fix: "+strings.Join(strings.Fields(fix), " "), "; fix: "))
		}
	}
	for _, m := range mechanisms() {
		if f := s.host.Fact(m.fact); !f.OK && !s.mended[m.fact] {
			add(m.name, f.Cause, f.Fix)
		}
	}
	if s.facts.grantProblem != nil && !s.mended[probe.IDMaps] {
		add("subordinate ids", s.facts.grantProblem.Error(), "")
	}
	if d, _ := s.host.ChosenDriver(); d.Name == probe.DriverNone && !s.login && !s.linger && s.host.Cgroups != nil {
		add("control groups", d.Cause, d.Fix)
	}
}

// text puts the script together.
func (s *fixScript) text() string {
	body := s.body.String()
	s.body.Reset()
	s.run("#!/bin/sh")
	if s.parts == 0 {
		s.comment("brig doctor: this host lacks nothing that a script could mend.")
	} else {
		s.comment(fmt.Sprintf("brig doctor: what this host (Linux %s) lacks for %s to use brig, and how to mend it.", s.host.Kernel.Release, s.user()))
		s.comment("Read it, then run it as root: sudo sh FILE")
		s.run("set -eu", "umask 022", `if [ "$(id -u)" -ne 0 ]; then`, "\techo 'this changes the system: run it as root' >&2", "\texit 1", "fi")
		s.body.WriteString(body)
		if s.login {
			s.run("", `printf '%s\n' `+probe.ShellQuote(fmt.Sprintf("%s has to end every session and log in again (or: systemctl restart user@%d.service, which ends all that runs there)", sandbox.SafeText(s.user()), s.host.UID)))
		}
		s.run("echo 'done; see what brig doctor says'")
	}
	if len(s.rest) > 0 {
		s.run("")
		s.comment("Not mended here:")
		for _, r := range s.rest {
			s.comment("- " + r)
		}
	}
	return s.body.String()
}

// wrap breaks a text into lines of at most so many bytes where it has spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// sameFile tells whether a file of the host holds this text.
func sameFile(path, text string) bool {
	have, err := os.ReadFile(path)
	return err == nil && string(have) == text
}
