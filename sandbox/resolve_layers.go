package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// imageRoot is how filesystem.root begins where it names an image.
const imageRoot = "image:"

// layeredRoot makes an image's layers the lower layers of the root.
func (r *resolver) layeredRoot() error {
	layers := uppermost(r.spec.Layers)
	if len(layers) > plan.MaxLayers {
		return newError(CodeSource, fmt.Sprintf("the root file system has %d layers, and the kernel stacks %d at most", len(layers), plan.MaxLayers),
			"make an image of fewer layers: docker build --squash, or export and import a container of it")
	}
	if !r.host.Overlay.OK {
		return newError(CodeHost, "an image cannot be the root file system: overlayfs cannot be mounted here: "+r.host.Overlay.Cause, "use a root file system of the host")
	}
	r.root.Flags = plan.InSource
	for i, dir := range layers {
		f := r.host.Files[dir]
		if f.Type != probe.Dir {
			return r.sourceError("layer", dir, f, "a directory")
		}
		if err := r.checkLower(dir); err != nil {
			return err
		}
		h := r.openSource(dir, f, plan.InPlace)
		if i == 0 {
			r.root.Handle = h
		} else {
			r.root.Layers = append(r.root.Layers, h)
		}
	}
	r.noteOwner(r.host.Files[layers[0]])
	return nil
}

// uppermost leaves of layers that are there more than once the uppermost:
// overlayfs refuses a directory twice, and what the lower one holds, the upper
// one holds as well.
func uppermost(layers []string) []string {
	list := make([]string, 0, len(layers))
	for i, dir := range layers {
		if !slices.Contains(layers[i+1:], dir) {
			list = append(list, dir)
		}
	}
	return list
}

// checkLayerMap refuses mappings with which every file of an image would have
// another owner than the image says.
func (r *resolver) checkLayerMap(kind policy.UserMap) error {
	of := r.spec.LayerMap
	if len(r.spec.Layers) == 0 || r.host.UID == 0 || kind == of || kind == policy.MapSingle || of == policy.MapSingle {
		return nil
	}
	return newError(CodeIDs, fmt.Sprintf("map %q gives every file of the image another owner: its layers were unpacked with map %q", kind, of),
		"use --userns auto")
}

// noteOwner says what a mapping means for files whose owners it lacks. All of
// an image's files are unpacked with the same mapping, so that one file tells.
func (r *resolver) noteOwner(f probe.File) {
	if !mapped(r.plan.IDs.UID, f.UID) || !mapped(r.plan.IDs.GID, f.GID) {
		r.note("the image's files belong to ids that map %s lacks (%d:%d), and so to nobody inside: the job can read what anybody may, and change nothing (EOVERFLOW)",
			r.plan.IDs.Map, f.UID, f.GID)
	}
}

// resolveGroups looks at the job's supplementary groups. With one id the kernel
// lets nobody choose them, see setgroups(2).
func (r *resolver) resolveGroups() error {
	ids := &r.plan.IDs
	if len(r.spec.Groups) > 0 && ids.By == plan.ByInit {
		r.note("map single: the job has none of its further groups (%d): the kernel lets nobody choose them there", len(r.spec.Groups))
		return nil
	}
	for _, g := range r.spec.Groups {
		if !slices.ContainsFunc(ids.GID, func(m plan.Mapping) bool { return g >= m.Inside && g-m.Inside < m.Count }) {
			return newError(CodeIDs, "the job's group "+strconv.FormatUint(uint64(g), 10)+" is not mapped", "choose other groups, or another mapping with --userns")
		}
	}
	r.groups = r.spec.Groups
	return nil
}

// sealRoot leaves a read-only root without an upper where nothing has to be
// made in it: no mount point that may be missing, no copy.
func (r *resolver) sealRoot() {
	makes := func(op plan.Op) bool { return op.Kind == plan.Mountpoint || op.Kind == plan.Copy }
	if r.p.Filesystem.ReadOnly && r.root.Flags.Has(plan.InSource) && !slices.ContainsFunc(r.mounts, makes) {
		r.root.Flags |= plan.ReadOnly
	}
}

// topLevel tells whether a target of a read-only overlaid root may be made in
// the layer above the image's instead of in an upper. What is mounted there
// hides what the image has.
func (r *resolver) topLevel(p string) bool {
	return r.p.Filesystem.ReadOnly && r.root.Flags.Has(plan.InSource) && strings.Count(p, "/") == 1 && !systemPath(p)
}

// makeMissing makes the directories that an image wants and has not: Docker
// makes those of its volumes and its working directory.
func (r *resolver) makeMissing(mounts []policy.Mount) {
	for _, dir := range r.spec.Missing {
		if !r.made[dir] && !r.below(dir, mounts) {
			r.mounts = append(r.mounts, plan.Op{Kind: plan.Mountpoint, Target: dir, Flags: plan.Directory})
		}
	}
}

// checkImage refuses a root that names an image where no layers were given, and
// layers for another root.
func (r *resolver) checkImage() error {
	root := r.p.Filesystem.Root
	switch named := strings.HasPrefix(root, imageRoot); {
	case named && len(r.spec.Layers) == 0:
		return newError(CodeBadSpec, fmt.Sprintf("root file system %q: the image's layers were not given", root), "find the image, and give it to Spec.UseImage")
	case !named && len(r.spec.Layers) > 0:
		return newError(CodeBadSpec, fmt.Sprintf("root file system %q, and the layers of an image", root), `set filesystem.root to "image:REFERENCE"`)
	}
	return nil
}
