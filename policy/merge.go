package policy

import (
	"slices"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// How the entries of a higher layer meet those of a lower one: a mount, an I/O
// limit or a rule that is about the same thing replaces it in its place, and
// any other comes last.

func mergeMount(list *[]Mount, m Mount) {
	for i := range *list {
		if (*list)[i].Target == m.Target {
			(*list)[i] = m
			return
		}
	}
	*list = append(*list, m)
}

func mergeIO(list *[]IOLimit, limit IOLimit) {
	for i := range *list {
		if (*list)[i].Device == limit.Device {
			(*list)[i] = limit
			return
		}
	}
	*list = append(*list, limit)
}

// findRule is the position of the rule that the given one replaces, or the end
// of the list.
func findRule(list []seccomp.Rule, rule seccomp.Rule) int {
	for i, r := range list {
		if slices.Equal(r.Names, rule.Names) && slices.Equal(r.Args, rule.Args) {
			return i
		}
	}
	return len(list)
}

func mergeRule(list *[]seccomp.Rule, position int, rule seccomp.Rule) {
	if position == len(*list) {
		*list = append(*list, rule)
		return
	}
	(*list)[position] = rule
}

// The keys under which the origins of entries are kept.

func mountKey(target string) string { return "filesystem.mount[" + target + "]" }
func ioKey(device string) string    { return "limits.io[" + device + "]" }
