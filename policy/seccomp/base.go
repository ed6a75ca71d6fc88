package seccomp

import (
	"fmt"
	"slices"
)

// verdict is what becomes of one call while a profile is being put together.
type verdict struct {
	action  Action   // when no allowance matches
	allows  []Match  // of a call that is not allowed altogether
	denials []Denial // for some arguments, whether it passes with them or not
	why     string
}

// allowed tells whether the call passes for every argument.
func (v *verdict) allowed() bool { return v.action == Allow && len(v.denials) == 0 }

// denied tells whether the call never passes.
func (v *verdict) denied() bool { return v.action != Allow && len(v.allows) == 0 }

// draft is a profile in the making: one verdict for each row of numbers.
type draft struct {
	settings Settings
	options  Options
	arch     string
	deny     Action
	verdicts []verdict
	actions  []Action // of denials by argument, in the order they were first used
}

// at finds the verdict of a call. The name must be one of numbers; for another
// one, which the tests rule out, it is a verdict that nothing reads.
func (d *draft) at(name string) *verdict {
	if i := indexOf(name); i >= 0 {
		return &d.verdicts[i]
	}
	return &verdict{}
}

// fillBase puts the base's verdicts into the draft.
func (d *draft) fillBase() error {
	for i := range d.verdicts {
		d.verdicts[i] = verdict{action: d.deny, why: "not in base"}
	}
	switch d.settings.Base {
	case BaseDefault:
		d.fillDocker()
	case BaseStrict:
		d.fillStrict()
	case BaseNone:
		return nil
	default:
		return fmt.Errorf("%q is not a base: use %q, %q or %q", d.settings.Base, BaseDefault, BaseStrict, BaseNone)
	}
	d.harden()
	return nil
}

// fillDocker takes over Docker's profile but for the calls that brig denies
// whoever asks.
func (d *draft) fillDocker() {
	for i := range dockerEntries {
		e := &dockerEntries[i]
		if !e.Arches.has(d.arch) || !d.holds(e.With) || isHardened(e) {
			continue
		}
		v := d.at(e.Name)
		switch {
		case v.action == Allow:
		case e.Action == Allow && len(e.Args) > 0:
			v.allows, v.why = append(v.allows, d.normalised(e.Name, e.Args)), "base"
		default:
			v.action, v.allows, v.why = e.Action, nil, "base"
		}
	}
	*d.at("socket") = verdict{action: d.deny, allows: internetSockets(), why: "base"}
	*d.at("socketpair") = verdict{action: d.deny, allows: unixSockets(), why: "base"}
}

// holds tells whether the job keeps a capability; "" asks for none.
func (d *draft) holds(capability string) bool {
	return capability == "" || slices.Contains(d.options.Caps, capability)
}

// fillStrict allows the short list.
func (d *draft) fillStrict() {
	for _, name := range strictCalls {
		*d.at(name) = verdict{action: Allow, why: "base"}
	}
	*d.at("socket") = verdict{action: d.deny, allows: internetSockets(), denials: noInternet(), why: "base"}
	*d.at("socketpair") = verdict{action: d.deny, allows: unixSockets(), why: "base"}
	*d.at("clone") = verdict{action: d.deny, allows: plainClone(), why: "base"}
	*d.at("personality") = verdict{action: d.deny, allows: askPersonality(), why: "base"}
}

// harden applies what both bases have in common: calls that fail as if the
// kernel did not have them, denials by argument, memory that is not seen.
func (d *draft) harden() {
	for _, name := range absentCalls {
		if v := d.at(name); v.denied() {
			v.action, v.why = errNoSys, "base"
		}
	}
	if d.options.SupervisedMemory {
		for _, name := range unseenMemory {
			*d.at(name) = verdict{action: errNoSys, why: "supervised memory"}
		}
	}
	for _, h := range hardenedDenials() {
		v := d.at(h.name)
		if v.denied() {
			continue
		}
		action := h.action
		if action == 0 {
			action = d.deny
		}
		v.denials = append(v.denials, Denial{Match: h.match, Action: action, Why: "base"})
	}
}

// normalised is normalise for the tables of this package, which a test checks.
func (d *draft) normalised(name string, args []Arg) Match {
	m, err := normalise(name, args, true)
	if err != nil {
		return nil
	}
	return m
}
