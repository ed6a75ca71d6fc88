package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Keep makes the uppers of a sandbox's overlays last: those of the root, where it
// is an image or a directory, and of directories given copy-on-write. They lie in
// Dir as upper1, upper2 and so on, in the order of the plan, each with its workN.
// All else that the job writes is as short-lived as ever.
type Keep struct {
	// Dir is a directory of the caller's, absolute, on a file system that
	// overlayfs takes for uppers. Nobody else may enter it.
	Dir string
	// Lock is a descriptor that init holds until the last process is gone, such
	// as that of a lock on Dir; 0 for none.
	Lock int
	// IDs are the mappings that the files in Dir belong to; nil where there are
	// none yet. A sandbox with others is refused.
	IDs *plan.IDs
	// Again says that Dir has been run on: what was copied into an overlay then
	// is there already, as the job left it, and not copied anew.
	Again bool
	// Resolved, where it is not nil, is told what will be done, before anything
	// is. Its error is the run's. It is told twice where the first try showed
	// that the host is not as it was taken for.
	Resolved func(*Resolution) error
}

// checkKeep refuses what cannot be kept.
func (r *resolver) checkKeep() error {
	k := r.spec.Keep
	if k == nil {
		return nil
	}
	for _, c := range r.copied {
		if !r.keptAt(c.target) {
			return newError(CodeSource, fmt.Sprintf("%s cannot be given copy-on-write and kept: called by root, it would be a copy, since %s", SafeText(c.source), c.cause),
				"run brig as the user whose directory it is, keep nothing, or give it with access copy or ro")
		}
	}
	if r.upper == 0 || !r.keepsAny() {
		return newError(CodeBadSpec, "there is nothing to keep: the root file system is the host's or read-only, and no directory is overlaid copy-on-write",
			"name an image (--image), or give a directory with access cow")
	}
	if ids := &r.plan.IDs; k.IDs != nil && (ids.Map != k.IDs.Map || !slices.Equal(ids.UID, k.IDs.UID) || !slices.Equal(ids.GID, k.IDs.GID)) {
		return newError(CodeIDs, fmt.Sprintf("the kept files belong to map %s with the ids%s, and now it would be map %s with%s: each would have another owner",
			k.IDs.Map, mapText(k.IDs.UID), ids.Map, mapText(ids.UID)), "give the user the same subordinate ids again (/etc/subuid, /etc/subgid), or remove the container")
	}
	return nil
}

func mapText(list []plan.Mapping) string {
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, " %d:%d:%d", m.Inside, m.Outside, m.Count)
	}
	return b.String()
}

// keepsAny tells whether there is an overlay with an upper.
func (r *resolver) keepsAny() bool {
	return r.rootUpper() || slices.ContainsFunc(r.mounts, func(op plan.Op) bool { return op.Kind == plan.Overlay })
}

func (r *resolver) rootUpper() bool {
	return r.root.Flags.Has(plan.InSource) && !r.root.Flags.Has(plan.ReadOnly)
}

// copiedBefore tells whether a Copy's target is on an overlay that has it from an
// earlier run.
func (r *resolver) copiedBefore(op *plan.Op) bool {
	return op.Kind == plan.Copy && r.spec.Keep != nil && r.spec.Keep.Again && r.keptAt(op.Target)
}

// keptAt tells whether what is copied to a path is on an overlay.
func (r *resolver) keptAt(target string) bool {
	for dir := target; dir != "/"; dir = path.Dir(dir) {
		for i := range r.mounts {
			if m := &r.mounts[i]; m.Target == dir && (m.Kind == plan.Overlay || m.Kind == plan.Tmpfs || m.Kind == plan.Bind) {
				return m.Kind == plan.Overlay
			}
		}
	}
	return r.rootUpper()
}

// Kept are the overlays of a plan that have uppers, in the order of their
// numbers: the target inside of each, and the source of its lowermost layer.
func (res *Resolution) Kept() []plan.Op {
	sources := map[int]string{}
	var list []plan.Op
	for i := range res.Plan.Ops {
		op := &res.Plan.Ops[i]
		switch {
		case op.Kind == plan.Open:
			sources[op.Handle] = op.Source
		case op.Kind == plan.Root && op.Flags.Has(plan.InSource) && !op.Flags.Has(plan.ReadOnly):
			list = append(list, plan.Op{Kind: plan.Root, Target: "/", Source: sources[op.Handle]})
		case op.Kind == plan.Overlay:
			list = append(list, plan.Op{Kind: plan.Overlay, Target: op.Target, Source: sources[op.Handle]})
		}
	}
	return list
}
