package sandbox

import (
	"errors"
	"fmt"
	"slices"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/userns"
)

// resolveIDs chooses the id mappings. Called by root, every mapping is built
// from a range set aside for this sandbox, and the clone itself is made with an
// id of that range: host root is never mapped.
func (r *resolver) resolveIDs() error {
	u := &r.p.User
	h := r.host
	kind := u.Map
	if kind == policy.MapAuto && len(r.spec.Layers) > 0 && r.spec.LayerMap == policy.MapIsolated {
		kind = policy.MapIsolated
	}
	if kind == policy.MapAuto {
		if kind = policy.MapKeepID; r.spec.LayerMap == policy.MapSingle && len(r.spec.Layers) > 0 {
			kind = policy.MapSingle
		} else if cause, _ := r.noSubIDs(); cause != "" {
			kind = policy.MapSingle
			r.note("map auto: one id only, since %s", cause)
		}
	}
	if err := r.checkLayerMap(kind); err != nil {
		return err
	}
	ids, err := r.mappings(kind)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(append(slices.Clone(ids.UID), ids.GID...), func(m userns.Mapping) bool { return m.Outside == 0 }) {
		return newError(CodeIDs, fmt.Sprintf("map %q would map a host id 0: the caller's group is root's, and root is never mapped", kind),
			"run brig with another group (newgrp, or runAsGroup in a pod), or use --userns isolated")
	}
	if err := ids.CheckInside(u.UID, u.GID); err != nil {
		cause := err.Error()
		if problem := (*userns.Problem)(nil); errors.As(err, &problem) {
			cause = problem.Detail()
		}
		return newError(CodeIDs, fmt.Sprintf("the job's ids %d:%d are not mapped: %s", u.UID, u.GID, cause),
			"choose other ids with --user or another mapping with --userns")
	}
	out := &r.plan.IDs
	out.Map, out.By = string(kind), plan.ByHelper
	out.CloneUID, out.CloneGID = h.UID, h.GID
	out.UID, out.GID = mappings(ids.UID), mappings(ids.GID)
	if others := slices.DeleteFunc(slices.Clone(h.Groups), func(g int) bool { return uint32(g) == h.GID }); kind == policy.MapSingle && h.UID != 0 && len(others) > 0 {
		r.note("map single: the job keeps the caller's other groups (%d), for files that only these may read; keep-id and isolated drop them", len(others))
	}
	switch {
	case h.UID == 0:
		out.By = plan.ByParent
		out.CloneUID, out.CloneGID = out.UID[0].Outside, out.GID[0].Outside
	case kind == policy.MapSingle:
		out.By = plan.ByInit
	}
	return nil
}

// noSubIDs says why mappings of several ids cannot be made, and how to mend it.
func (r *resolver) noSubIDs() (cause, fix string) {
	switch h := r.host; {
	case h.SubIDsProblem != "":
		return h.SubIDsProblem, "give the user a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + SafeText(h.User)
	case h.ToolsProblem != "" && h.UID != 0:
		return h.ToolsProblem, "install the package uidmap (on Fedora shadow-utils), or use --userns single"
	case !h.IDMaps.OK && h.UID != 0:
		return h.IDMaps.Cause, h.IDMaps.Fix
	}
	return "", ""
}

func (r *resolver) mappings(kind policy.UserMap) (userns.IDs, error) {
	u, h := &r.p.User, r.host
	if kind != policy.MapSingle {
		if cause, fix := r.noSubIDs(); cause != "" {
			return userns.IDs{}, newError(CodeIDs, fmt.Sprintf("map %q needs subordinate ids: %s", kind, cause), fix)
		}
	}
	var ids userns.IDs
	var err error
	switch {
	case kind == policy.MapSingle && h.UID == 0:
		if len(h.SubIDs.UID) == 0 || len(h.SubIDs.GID) == 0 {
			return ids, newError(CodeIDs, "no unprivileged range could be set aside: "+h.SubIDsProblem, "see brig doctor")
		}
		ids = userns.Single(h.SubIDs.UID[0].Start, h.SubIDs.GID[0].Start, u.UID, u.GID)
	case kind == policy.MapSingle:
		ids = userns.Single(h.UID, h.GID, u.UID, u.GID)
	case kind == policy.MapIsolated || h.UID == 0:
		ids, err = userns.Isolated(h.SubIDs)
	case len(r.spec.Layers) > 0 || r.spec.KeepAs != 0: // as the layers were unpacked
		ids, err = userns.KeepID(h.UID, h.GID, r.spec.KeepAs, r.spec.KeepAs, h.SubIDs)
	default:
		ids, err = userns.KeepID(h.UID, h.GID, u.UID, u.GID, h.SubIDs)
	}
	var problem *userns.Problem
	if errors.As(err, &problem) {
		return ids, newError(CodeIDs, problem.Detail(), problem.Fix)
	}
	if err != nil {
		return ids, newError(CodeIDs, err.Error(), "see brig doctor")
	}
	return ids, nil
}

func mappings(m userns.Map) []plan.Mapping {
	list := make([]plan.Mapping, len(m))
	for i, e := range m {
		list[i] = plan.Mapping{Inside: e.Inside, Outside: e.Outside, Count: e.Count}
	}
	return list
}

// setupIDs adds the ids of the set-up, and returns the op for the ids init
// keeps: with several ids the last one mapped, which no job is given, so that
// the job's signals, rlimits and priorities cannot reach init.
func (r *resolver) setupIDs(add func(...plan.Op)) plan.Op {
	ids := &r.plan.IDs
	if ids.Map == string(policy.MapSingle) {
		var flags plan.Flags
		if ids.By == plan.ByParent {
			flags = plan.KeepSetgrps
		}
		return plan.Op{Kind: plan.InitIDs, UID: r.p.User.UID, GID: r.p.User.GID, Flags: flags}
	}
	add(plan.Op{Kind: plan.SetIDs, Flags: plan.KeepSetgrps})
	return plan.Op{Kind: plan.InitIDs, UID: lastInside(ids.UID, r.p.User.UID), GID: lastInside(ids.GID, r.p.User.GID), Flags: plan.KeepSetgrps}
}

// lastInside is the highest id inside that is not the job's.
func lastInside(list []plan.Mapping, job uint32) uint32 {
	var last uint32
	for _, m := range list {
		last = max(last, m.Inside+m.Count-1)
	}
	if last == job && last > 0 {
		last--
	}
	return last
}
