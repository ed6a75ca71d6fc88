package policy

import (
	"fmt"
	"slices"
)

// allCapabilities is docker's word for every capability.
const allCapabilities = "CAP_ALL"

// capability notes one --cap-add or --cap-drop.
func (o *overrider) capability(ov Override) string {
	name := normalCapability(ov.Value)
	add := ov.Key == overrideCapability
	// What is never given may well be dropped.
	if name != allCapabilities && (add || name != ptrace) {
		if why := checkCapability(name); why != "" {
			return quote(ov.Value) + ": " + why
		}
	}
	list, other := &o.dropped, o.added
	if add {
		list, other = &o.added, o.dropped
	}
	if slices.Contains(other, name) {
		return fmt.Sprintf("%s is both added and dropped", name)
	}
	*list = append(*list, name)
	o.capFlag = ov.Origin
	return ""
}

// capabilities works out the set as docker does: dropping ALL drops those of
// the policy and leaves the added ones; adding ALL gives all but the dropped.
func (o *overrider) capabilities() {
	if o.capFlag == "" {
		return
	}
	keep := func(name string) bool {
		switch {
		case name == ptrace:
			return false
		case slices.Contains(o.dropped, allCapabilities):
			return slices.Contains(o.added, name)
		case slices.Contains(o.added, allCapabilities):
			return !slices.Contains(o.dropped, name)
		case slices.Contains(o.dropped, name):
			return false
		}
		return slices.Contains(o.added, name) || slices.Contains(o.policy.User.Capabilities, name)
	}
	kept := slices.DeleteFunc(Capabilities(), func(name string) bool { return !keep(name) })
	o.policy.User.Capabilities = kept
	o.origins.setFlag("user.capabilities", o.capFlag)
}
