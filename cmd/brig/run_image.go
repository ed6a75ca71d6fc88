package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/userns"
)

// imagePolicy is the policy of runs with --image that name none.
const imagePolicy = "image"

// imageName is the image that a policy has for its root file system; empty
// where it has another.
func imageName(p *policy.Policy) string {
	name, _ := strings.CutPrefix(p.Filesystem.Root, "image:")
	if name == p.Filesystem.Root {
		return ""
	}
	return name
}

// useImage finds the image that the spec's policy names and makes the spec one
// that runs it. The image stays until release is called.
func (f *runFlags) useImage(spec *sandbox.Spec) (found *image.Image, release func(), err error) {
	name := imageName(spec.Policy)
	o := sandbox.ImageOptions{User: f.user, Lookup: os.LookupEnv, Capabilities: f.added(spec.Policy), KeepPath: f.ownPath}
	if f.flags.Changed("entrypoint") {
		o.Entrypoint = []string{f.entrypoint}
	}
	if err := f.checkPull(name); err != nil {
		return nil, nil, err
	}
	switch {
	case name == "" && o.Entrypoint != nil:
		return nil, nil, errors.New("--entrypoint takes the place of an image's, and there is no image\n  fix: name one with --image, or put the program before its arguments")
	case name == "" && len(spec.Args) == 0:
		return nil, nil, errNoCommand
	case name == "":
		return nil, func() {}, nil
	case f.flags.Changed("user") && f.user == "":
		return nil, nil, errors.New("--user is empty\n  fix: name a user of the image, or a uid[:gid]")
	}
	store, err := image.OpenDefault()
	if err != nil {
		return nil, nil, err
	}
	found, err = f.openImage(spec, store, name)
	if err != nil {
		return nil, nil, err
	}
	if arch := found.Platform().Architecture; arch != "" && arch != runtime.GOARCH {
		return nil, nil, fmt.Errorf("image %s is for %s, and this host is %s\n  fix: use the image of this platform", sandbox.SafeText(name), sandbox.SafeText(found.Platform().String()), runtime.GOARCH)
	}
	if release, err = found.Hold(); err != nil {
		return nil, nil, err
	}
	if err = spec.UseImage(imageOf(name, found), o); err == nil {
		found, err = f.ownedBy(spec, found, name)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return found, release, nil
}

// keepAs is the id that the caller has to have inside, for the mapping that a run
// of an image has: none with map isolated, or the job's, where it is given
// directories of the caller's to write. Else it is root's, for which images are
// unpacked when they come.
func keepAs(spec *sandbox.Spec, found *image.Image) uint32 {
	p := spec.Policy
	given := slices.ContainsFunc(p.Filesystem.Mounts, func(m policy.Mount) bool {
		return m.Access == policy.ReadWrite || m.Access == policy.CopyOnWrite
	})
	switch {
	case os.Getuid() == 0:
	case p.User.Map == policy.MapIsolated:
		return image.KeepApart
	case p.User.Map != policy.MapAuto && p.User.Map != policy.MapKeepID, found.Map() == image.Single:
	case given && p.User.UID < image.KeepApart:
		return p.User.UID
	}
	return 0
}

// ownedBy gives the spec the image's layers with the owners that its mapping asks
// for. Where they are not unpacked so, the program for images does it. A plan is
// printed without doing anything.
func (f *runFlags) ownedBy(spec *sandbox.Spec, found *image.Image, name string) (*image.Image, error) {
	id := keepAs(spec, found)
	if id == 0 {
		return found, nil
	}
	sub, err := userns.LookupSubIDs(context.Background(), userns.LookupOptions{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	if err != nil {
		return found, nil //nolint:nilerr // what follows says why there is no such mapping
	}
	args := []string{"--userns", string(policy.MapIsolated)}
	if id < image.KeepApart {
		args = []string{"--userns", string(policy.MapKeepID), "--uid", strconv.FormatUint(uint64(id), 10)}
	}
	other, err := found.KeepAs(id, sub)
	switch {
	case err == nil:
	case f.plan != "":
		return nil, fmt.Errorf("%w\n  fix: brig system unpack %s %s", err, strings.Join(args, " "), sandbox.SafeText(name))
	default:
		args = append([]string{"system", "unpack"}, append(args, "--", string(found.Digest()))...)
		if err = haveImageProgram(spec, "the unpacking", args...); err != nil {
			return nil, err
		}
		if other, err = found.KeepAs(id, sub); err != nil {
			return nil, err
		}
	}
	spec.Layers, spec.LayerMap = other.Layers(), layerMap(other)
	if spec.LayerMap == policy.MapKeepID {
		spec.KeepAs = id
	}
	return other, nil
}

// layerMap is the mapping that an image's layers were unpacked with.
func layerMap(found *image.Image) policy.UserMap {
	switch {
	case found.Map() == image.Single:
		return policy.MapSingle
	case found.IsIsolated():
		return policy.MapIsolated
	}
	return policy.MapKeepID
}

// variable is policy.SetVariable; it notes whether PATH is among them.
func (f *runFlags) variable(v, flag string) policy.Override {
	name, _, _ := strings.Cut(v, "=")
	f.ownPath = f.ownPath || name == "PATH"
	return policy.SetVariable(v, flag)
}

// added are the capabilities that --cap-add names.
func (f *runFlags) added(p *policy.Policy) []string {
	return slices.DeleteFunc(slices.Clone(p.User.Capabilities), func(c string) bool {
		return !slices.ContainsFunc(f.capAdd, func(v string) bool {
			v = strings.ToUpper(v)
			return v == "ALL" || v == c || "CAP_"+v == c
		})
	})
}

// imageOf is a stored image as package sandbox runs it.
func imageOf(name string, found *image.Image) *sandbox.Image {
	c := found.Config()
	return &sandbox.Image{
		Ref: name, Digest: string(found.Digest()), Layers: found.Layers(), LayerMap: layerMap(found),
		Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User, StopSignal: c.StopSignal,
		Volumes: slices.Sorted(maps.Keys(c.Volumes)), Labels: c.Labels,
	}
}
