package sandbox

import (
	"fmt"
	"slices"
)

// checkNodes refuses memory nodes that the host does not have. The kernel would
// too, with no more than "invalid argument".
func (r *resolver) checkNodes() error {
	asked, nodes := r.p.Limits.CPUSetMems, r.host.Nodes
	if asked == "" || len(nodes) == 0 {
		return nil
	}
	set, err := parseCPUSet(asked)
	if err != nil {
		return newError(CodeLimit, fmt.Sprintf("cpuset_mems %q: %v", asked, err), `write a list like "0-1,3"`)
	}
	for _, n := range set {
		if !slices.Contains(nodes, n) {
			return newError(CodeLimit, fmt.Sprintf("cpuset_mems %q: this host has no memory node %d; it has %s", asked, n, cpuList(nodes)), "choose among these")
		}
	}
	return nil
}
