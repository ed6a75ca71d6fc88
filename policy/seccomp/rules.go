package seccomp

import (
	"fmt"
	"slices"
)

// applyRules lays the rules over the base and over what allow opened: first
// those that allow, then those that deny, so that a denial stands.
func (r *resolver) applyRules() {
	type prepared struct {
		rule  *Rule
		key   string
		calls []named
		deny  bool
		with  Action
	}
	var list []prepared
	for i := range r.settings.Rules {
		rule := &r.settings.Rules[i]
		p := prepared{rule: rule, key: fmt.Sprintf("rule[%d]", i), with: r.deny}
		if len(rule.Names) == 0 {
			r.fail(p.key+".names", "names no system call")
		}
		p.calls = r.expand(p.key+".names", rule.Names)
		switch rule.Action {
		case "allow":
		case "deny":
			p.deny = true
		default:
			action, err := parseDenial(rule.Action)
			if err != nil {
				r.fail(p.key+".action", "%v; \"allow\" and \"deny\" (as on_deny says) are actions too", err)
				continue
			}
			p.deny, p.with = true, action
		}
		list = append(list, p)
	}
	if len(list) == 0 || len(r.errs) > 0 {
		return
	}
	for _, deny := range [...]bool{false, true} {
		for _, p := range list {
			if p.deny != deny {
				continue
			}
			for _, n := range p.calls {
				if !r.counts(p.key, n) {
					continue
				}
				match, err := normalise(n.row.name, p.rule.Args, !deny)
				if err != nil {
					r.fail(p.key+".args", "%s: %v", n.row.name, err)
					break
				}
				if deny {
					r.ruleDenies(p.key, n, match, p.with)
				} else {
					r.ruleAllows(p.key, n, match)
				}
			}
		}
	}
}

// counts tells whether a rule speaks of a call that this architecture has and
// that deny leaves to it.
func (r *resolver) counts(key string, n named) bool {
	if n.row.on(r.arch) < 0 {
		return false
	}
	if d, ok := find(r.denied, n.row); ok {
		if n.literal {
			r.fail(key, "%q cannot take effect: %s denies it, and deny goes before rules", n.row.name, d.key)
		}
		return false
	}
	return true
}

// hasPointer tells that a call's decisive arguments lie behind a pointer.
func hasPointer(name string) bool { return name == "clone3" || name == "openat2" }

// ruleAllows opens a call for some arguments. The opposite of a denial in the
// base takes that denial back.
func (r *resolver) ruleAllows(key string, n named, match Match) {
	v := r.at(n.row.name)
	if len(match) == 0 {
		*v = verdict{action: Allow, why: "rule"}
		return
	}
	if hasPointer(n.row.name) && n.literal {
		r.fail(key+".args", "%q: what it does lies behind a pointer, which a filter cannot read: allow or deny it altogether", n.row.name)
		return
	}
	same := func(d Denial) bool { return d.Why == "base" && slices.Equal(d.Match, match) }
	took := slices.ContainsFunc(v.denials, same)
	v.denials = slices.DeleteFunc(slices.Clone(v.denials), same)
	switch {
	case v.action == Allow:
		if !took && n.literal {
			r.fail(key, "%q cannot take effect: %s allows it already%s", n.row.name, v.why, keptDenials(v))
		}
		return
	case v.action != r.deny:
		// An errno of its own (ENOSYS) holds only where no argument is looked at.
		v.action = r.deny
	}
	v.allows = append(slices.Clone(v.allows), match)
	v.why = "rule"
}

// keptDenials names what is denied of a call that is otherwise allowed.
func keptDenials(v *verdict) string {
	if len(v.denials) == 0 {
		return ""
	}
	s := " except"
	for i, d := range v.denials {
		if i > 0 {
			s += ","
		}
		s += " " + d.Match.String()
	}
	return s + " (a rule that allows takes back exactly one of these)"
}

// ruleDenies closes a call for some arguments, or altogether. Of a denial that
// says what another one says for the same arguments, or for all, one of the two
// would have no effect.
func (r *resolver) ruleDenies(key string, n named, match Match, action Action) {
	v := r.at(n.row.name)
	if len(match) == 0 {
		r.ruleCloses(key, n, action)
		return
	}
	if hasPointer(n.row.name) && n.literal {
		r.fail(key+".args", "%q: what it does lies behind a pointer, which a filter cannot read: allow or deny it altogether", n.row.name)
		return
	}
	passes := v.action == Allow || slices.ContainsFunc(v.allows, func(m Match) bool { return !m.apart(match) })
	if !passes && (action == v.action || action.restrictive() > v.action.restrictive()) {
		if n.literal {
			r.fail(key, "%q cannot take effect: it is denied already with %v (%s)", n.row.name, v.action, v.why)
		}
		return
	}
	for _, d := range v.denials {
		if d.Why == "rule" && d.Action != action && slices.Equal(d.Match, match) {
			r.fail(key, "%q cannot take effect: another rule denies it with %v for the same arguments (%v)", n.row.name, d.Action, match)
			return
		}
	}
	if !slices.Contains(r.actions, action) {
		if len(r.actions) >= maxRuleActions {
			r.fail(key, "%v: rules with arguments may use %d different actions", action, maxRuleActions)
			return
		}
		r.actions = append(r.actions, action)
	}
	v.denials = append(slices.Clone(v.denials), Denial{Match: match, Action: action, Why: "rule"})
}

// ruleCloses denies a call altogether. What rules deny for some arguments with
// another errno stands.
func (r *resolver) ruleCloses(key string, n named, action Action) {
	v := r.at(n.row.name)
	if v.denied() && v.why == "rule" && v.action != action {
		r.fail(key, "%q cannot take effect: another rule denies it with %v", n.row.name, v.action)
		return
	}
	var kept []Denial
	for _, d := range v.denials {
		if d.Why != "rule" || d.Action == action {
			continue
		}
		if d.Action.restrictive() > action.restrictive() {
			r.fail(key, "%q: with it the denial with %v for %v cannot take effect", n.row.name, d.Action, d.Match)
			return
		}
		kept = append(kept, d)
	}
	*v = verdict{action: action, denials: kept, why: "rule"}
}

// maxRuleActions keeps a program below maxFilters: one filter for each action of
// a denial by argument, three actions in the bases, and the filter that denies by
// default.
const maxRuleActions = maxFilters - 4
