package seccomp

import (
	"errors"
	"fmt"
	"slices"
)

// Error is one thing wrong with Settings.
type Error struct {
	// Key is the place below [seccomp]: "base", "allow[2]", "rule[0].args[1]".
	Key string
	// Problem says what is wrong, with the value and the way to right it.
	Problem string
}

// Error implements error.
func (e *Error) Error() string { return "seccomp." + e.Key + ": " + e.Problem }

// Check lists everything that is wrong with the settings of a policy, whatever
// the architecture and the host. Each error is an *Error.
func Check(s Settings) []error {
	var found []error
	seen := map[Error]bool{}
	for _, arch := range [...]string{AMD64, ARM64} {
		_, errs := resolve(s, Options{}, arch)
		for _, e := range errs {
			if !seen[*e] {
				seen[*e] = true
				found = append(found, e)
			}
		}
	}
	return found
}

// Resolve works out what becomes of every call. The error joins an *Error for
// each thing that is wrong.
func Resolve(s Settings, o Options, arch string) (*Profile, error) {
	if _, ok := auditArch(arch); !ok {
		return nil, fmt.Errorf("architecture %q: brig has filters for %s and %s", arch, AMD64, ARM64)
	}
	p, errs := resolve(s, o, arch)
	if len(errs) > 0 {
		joined := make([]error, len(errs))
		for i, e := range errs {
			joined[i] = e
		}
		return nil, errors.Join(joined...)
	}
	return p, nil
}

func resolve(s Settings, o Options, arch string) (*Profile, []*Error) {
	r := resolver{draft: draft{settings: s, options: o, arch: arch, verdicts: make([]verdict, len(numbers))}}
	deny, err := parseDenial(onDeny(s))
	if err != nil {
		r.fail("on_deny", "%v", err)
		deny = ePerm
	}
	r.deny = deny
	if err := r.fillBase(); err != nil {
		r.fail("base", "%v", err)
		return nil, r.errs
	}
	if s.Base == BaseNone {
		if len(s.Allow)+len(s.Deny)+len(s.Rules) > 0 {
			r.fail("base", "with base %q there is no filter, so allow, deny and rule cannot take effect: use base %q", BaseNone, BaseDefault)
			return nil, r.errs
		}
		return &Profile{Arch: arch, Base: BaseNone, Key: Key(s, o, arch)}, nil
	}
	r.denied = r.expand("deny", s.Deny)
	r.allowed = r.expand("allow", s.Allow)
	r.applyAllow()
	r.applyRules()
	r.applyDeny()
	r.checkStart()
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return r.profile(), nil
}

// resolver lays a policy's own entries over the base.
type resolver struct {
	draft
	allowed, denied []named
	errs            []*Error
}

// named is a call that an entry of a list speaks of.
type named struct {
	row     *number
	key     string
	literal bool // named itself, not through a group
}

func (r *resolver) fail(key, format string, args ...any) {
	r.errs = append(r.errs, &Error{Key: key, Problem: fmt.Sprintf(format, args...)})
}

// expand finds the calls that the names stand for.
func (r *resolver) expand(key string, names []string) []named {
	var out []named
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", key, i)
		if g := lookupGroup(name); g != nil {
			for _, call := range g.Calls {
				out = append(out, named{lookupCall(call), at, false})
			}
			continue
		}
		row := lookupCall(name)
		if row == nil {
			kind, hint := "a system call", ""
			if len(name) > 0 && name[0] == '@' {
				kind = "a group"
			}
			if near := nearest(name); near != "" {
				hint = fmt.Sprintf(": did you mean %q?", near)
			}
			r.fail(at, "%q is not %s%s", name, kind, hint)
			continue
		}
		out = append(out, named{row, at, true})
	}
	return out
}

// find looks a call up in an expanded list; the literal mention wins.
func find(list []named, row *number) (named, bool) {
	found, ok := named{}, false
	for _, n := range list {
		if n.row == row && (!ok || n.literal) {
			found, ok = n, true
		}
	}
	return found, ok
}

// applyAllow opens the calls of allow. A call that a group names is opened as
// far as the default base opens it, or altogether if that denies it.
func (r *resolver) applyAllow() {
	usual := draft{
		settings: Settings{Base: BaseDefault}, options: Options{Caps: r.options.Caps}, arch: r.arch, deny: r.deny,
		verdicts: make([]verdict, len(numbers)),
	}
	if err := usual.fillBase(); err != nil {
		r.fail("base", "%v", err)
		return
	}
	for _, a := range r.allowed {
		if deny, ok := find(r.denied, a.row); ok && deny.literal && a.literal {
			r.fail(a.key, "%q cannot take effect: %s names it too, and deny goes before allow", a.row.name, deny.key)
			continue
		}
		v, u := r.at(a.row.name), usual.at(a.row.name)
		switch literal, _ := find(r.allowed, a.row); {
		case literal.literal || u.denied():
			*v = verdict{action: Allow, why: "allow"}
		default:
			*v = verdict{action: u.action, allows: u.allows, denials: u.denials, why: "allow"}
		}
	}
}

// applyDeny closes the calls of deny, last, since it goes before all else.
func (r *resolver) applyDeny() {
	for _, n := range r.denied {
		v := r.at(n.row.name)
		action := r.deny
		if n.row.name == "clone3" {
			action = errNoSys // or no C library could start a thread
		}
		*v = verdict{action: action, why: "deny"}
	}
}

// startCalls are used by brig's init after the filter is loaded.
var startCalls = [...]string{"execve", "exit_group", "write"}

// checkStart refuses a profile under which no job can start.
func (r *resolver) checkStart() {
	for _, name := range startCalls {
		v := r.at(name)
		if v.allowed() || len(r.errs) > 0 {
			continue
		}
		key := "rule"
		if n, ok := find(r.denied, lookupCall(name)); ok {
			key = n.key
		}
		r.fail(key, "%q must be allowed for all arguments: the job is started with it", name)
	}
}

// profile puts the verdicts into their final form.
func (r *resolver) profile() *Profile {
	p := &Profile{
		Arch: r.arch, Base: r.settings.Base, Key: Key(r.settings, r.options, r.arch),
		Highest: highest(r.arch), Deny: r.deny,
	}
	for i := range numbers {
		v := &r.verdicts[i]
		n := numbers[i].on(r.arch)
		if n < 0 {
			continue
		}
		c := Call{Name: numbers[i].name, Number: uint32(n), Action: v.action, Allows: v.allows, Why: v.why}
		for _, d := range v.denials {
			if !slices.ContainsFunc(c.Denials, func(e Denial) bool { return e.Action == d.Action && slices.Equal(e.Match, d.Match) }) {
				c.Denials = append(c.Denials, d)
			}
		}
		p.Calls = append(p.Calls, c)
	}
	slices.SortFunc(p.Calls, func(a, b Call) int { return int(a.Number) - int(b.Number) })
	p.DenialActions = r.actions
	for _, c := range p.Calls {
		for _, d := range c.Denials {
			if !slices.Contains(p.DenialActions, d.Action) {
				p.DenialActions = append(p.DenialActions, d.Action)
			}
		}
	}
	return p
}
