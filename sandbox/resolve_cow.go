package sandbox

import (
	"fmt"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

// cow gives a directory that the job may write while the host's own stays as it
// is. No id of a sandbox of root's may read what root owns: there the lower layer
// is a view of the directory in which its owner is the job, or, where there can be
// none, the directory is copied.
func (r *resolver) cow(m *policy.Mount, f probe.File) error {
	if r.host.UID == 0 {
		if cause := r.noView(m.Source, f); cause != "" {
			return r.cowCopied(m, f, cause)
		}
	} else if err := r.owns("cow", m, f); err != nil {
		return err
	}
	if f.Type != probe.Dir {
		return newError(CodeSource, fmt.Sprintf("%s cannot be given copy-on-write: it is not a directory", SafeText(m.Source)), "use access copy or ro for a file")
	}
	if err := r.checkLower(m.Source); err != nil {
		return err
	}
	h := r.openSource(m.Source, f, plan.InPlace)
	if r.host.UID == 0 {
		if err := r.view(&r.open[len(r.open)-1], f); err != nil {
			return err
		}
	}
	r.noteOwners(&r.open[len(r.open)-1])
	r.target(m.Target, true)
	r.mounts = append(r.mounts, plan.Op{Kind: plan.Overlay, Handle: h, Target: m.Target})
	r.writable(m.Target)
	if !r.root.Flags.Has(plan.InSource) {
		r.root.Flags |= plan.InScratch
	}
	return nil
}

// viewsSince is the kernel from which on overlays take idmapped layers.
var viewsSince = probe.Kernel{Major: 5, Minor: 19}

// noView says why there is no view of a directory with other owners; empty where
// there may be.
func (r *resolver) noView(source string, f probe.File) string {
	switch k := r.host.Kernel; {
	case f.Type != probe.Dir:
		return "it is not a directory"
	case !r.host.Overlay.OK:
		return "overlayfs cannot be mounted here: " + r.host.Overlay.Cause
	case !k.AtLeast(viewsSince.Major, viewsSince.Minor):
		return fmt.Sprintf("Linux overlays directories for other owners from %d.%d on, this is %s", viewsSince.Major, viewsSince.Minor, k.Release)
	}
	if m := mountBelow(r.host.Mounts, source); m != nil {
		return mountedBelow(m)
	}
	return r.host.Views[source].Cause
}

func mountedBelow(m *probe.Mount) string {
	return fmt.Sprintf("a %s is mounted below it at %s", SafeText(m.FSType), SafeText(m.Point))
}

// view makes of an op that opens a directory one that opens it with other owners:
// what belongs to whoever owns the directory belongs to the job.
func (r *resolver) view(op *plan.Op, f probe.File) error {
	op.Flags, op.OwnerUID, op.OwnerGID = plan.Mapped, f.UID, f.GID
	op.UID, op.GID = r.p.User.UID, r.p.User.GID
	if o := r.spec.CowOwner; o != nil {
		uid, hasUID := plan.Inside(r.plan.IDs.UID, o[0])
		gid, hasGID := plan.Inside(r.plan.IDs.GID, o[1])
		if !hasUID || !hasGID {
			return newError(CodeIDs, fmt.Sprintf("%s cannot be shown as to %d:%d: these ids are not mapped", SafeText(op.Source), o[0], o[1]),
				"call brig as the one who called it when the files were made")
		}
		op.UID, op.GID = uid, gid
	} else {
		r.note("called by root: what belongs to %d:%d in %s, as the directory does, is the job's inside", f.UID, f.GID, SafeText(op.Source))
	}
	return nil
}

// copied is a source that was to be given copy-on-write.
type copied struct{ source, target, cause string }

// cowCopied gives a copy in the place of a view.
func (r *resolver) cowCopied(m *policy.Mount, f probe.File, cause string) error {
	if r.spec.CowOwner != nil {
		return newError(CodeSource, fmt.Sprintf("%s cannot be compared with what a job made of it: %s", SafeText(m.Source), cause), "have the directory where it was")
	}
	r.note("%s is copied, not overlaid: called by root, no id of the sandbox owns it, and %s", SafeText(m.Source), cause)
	r.copied = append(r.copied, copied{m.Source, m.Target, cause})
	return r.copyMount(m, f)
}

// noteOwners tells of files that will belong to nobody inside.
func (r *resolver) noteOwners(op *plan.Op) {
	uids, gids := r.plan.IDs.UID, r.plan.IDs.GID
	id := plan.Inside
	if op.Flags.Has(plan.Mapped) {
		uids, gids = r.plan.IDs.View(op)
		id = plan.Outside // a view's maps begin with the ids of files
	}
	for _, o := range r.host.Owners[op.Source] {
		_, hasUID := id(uids, o.UID)
		if _, hasGID := id(gids, o.GID); !hasUID || !hasGID {
			hint := ""
			if r.host.UID == 0 && r.plan.IDs.Map == string(policy.MapSingle) && o.UID < userns.WantIDs && o.GID < userns.WantIDs {
				hint = "; with --userns keep-id they belong to their own number"
			}
			r.note("files of %d:%d in %s, such as %s, belong to nobody inside: the job can read but not change them (EOVERFLOW)%s",
				o.UID, o.GID, SafeText(op.Source), SafeText(o.Example), hint)
		}
	}
}
