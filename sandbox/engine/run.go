package engine

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/atomicfile"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Describe records the job of a spec that is about to run for the first time, and
// writes its policy. The image is nil where there is none; diffIDs are its layers'.
func (c *Container) Describe(spec *sandbox.Spec, image *ImageRef, diffIDs []string) error {
	text, err := spec.Policy.Encode()
	if err != nil {
		return fmt.Errorf("--keep: %w\n  fix: use names that are UTF-8", err)
	}
	if err := atomicfile.Replace(c.PolicyFile(), text); err != nil {
		return fmt.Errorf("making a container: %w", err)
	}
	c.Image, c.diffIDs, c.Policy, c.Root = image, diffIDs, spec.Policy.Name, spec.Policy.Filesystem.Root
	c.Job = Job{
		Args: List(spec.Args), Env: List(spec.Env), Dir: Bytes(spec.Dir), Hostname: spec.Hostname,
		Groups: spec.Groups, Missing: List(spec.Missing), Terminal: spec.Terminal != nil, Cgroups: spec.CgroupManager,
		StopSignal: int(spec.Stop.Signal), StopTimeout: spec.Stop.Timeout,
	}
	return checkUpper(c.Data())
}

// Spec is the job of the container as it was recorded, under the same policy; its
// streams, filter and layers are the caller's to fill in.
func (c *Container) Spec() (*sandbox.Spec, error) {
	opts := policy.LoadOptions{Name: c.PolicyFile(), Files: os.DirFS("/"), Dir: "/", HomeDir: os.Getenv("HOME")}
	if !path.IsAbs(opts.HomeDir) {
		opts.HomeDir = ""
	}
	p, _, err := policy.Load(opts)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", c.Name, err)
	}
	p.Name = c.Policy
	spec := sandbox.NewSpec(p, Strings(c.Job.Args)...)
	spec.Env, spec.Dir, spec.Hostname = Strings(c.Job.Env), string(c.Job.Dir), c.Job.Hostname
	spec.Groups, spec.Missing, spec.CgroupManager = c.Job.Groups, Strings(c.Job.Missing), c.Job.Cgroups
	spec.Stop = sandbox.Stop{Signal: unix.Signal(c.Job.StopSignal), Timeout: c.Job.StopTimeout}
	return spec, nil
}

// JobOnHost are the ids, user and group, that the container's job has outside.
func (c *Container) JobOnHost() (*[2]uint32, error) {
	spec, err := c.Spec()
	if err != nil {
		return nil, err
	}
	user := &spec.Policy.User
	uid, hasUID := plan.Outside(c.IDs.UID, user.UID)
	gid, hasGID := plan.Outside(c.IDs.GID, user.GID)
	if !hasUID || !hasGID {
		return nil, fmt.Errorf("container %s: its job's ids %d:%d are not among those on record", c.Name, user.UID, user.GID)
	}
	return &[2]uint32{uid, gid}, nil
}

// Keep makes the runs of a spec those of the container, whose lock this process
// holds exclusively: its layers are written there, and before anything runs the
// record says so. A container that Create made is published then.
func (c *Container) Keep(spec *sandbox.Spec) {
	// A new container is at its place before anything of it is opened.
	k := &sandbox.Keep{Dir: filepath.Join(c.store.dir, c.ID, "data"), Lock: c.LockFD(), Again: !c.fresh, Resolved: c.begin}
	if !c.fresh {
		ids := c.IDs
		k.IDs = &ids
		spec.Policy.User.Map = policy.UserMap(ids.Map)
	}
	spec.Keep = k
}

// begin records that a run begins.
func (c *Container) begin(res *sandbox.Resolution) error {
	layers := c.layersOf(res)
	if c.fresh {
		c.IDs, c.Layers = res.Plan.IDs, layers
		if err := c.admit(); err != nil {
			return err
		}
		c.Own, c.Given = ownPaths(res.Plan)
	} else if !sameLayers(layers, c.Layers) {
		return fmt.Errorf("container %s: its layers are not those that this brig would run it on\n  fix: use the brig that made it, or make it anew", c.Name)
	}
	for _, o := range c.Overlays() {
		if o.Kind != CowLayer {
			continue
		}
		if _, err := os.Lstat(o.Base); err == nil {
			continue
		}
		if err := WriteBase(o.Base, o.Source); err != nil {
			return err
		}
	}
	since, err := startOf(os.Getpid())
	if err != nil {
		return err
	}
	if err := c.reserve(); err != nil {
		return err
	}
	c.begun = true
	c.Run = &Run{PID: os.Getpid(), Since: since, Started: time.Now().UTC()}
	if filepath.Base(c.dir) != c.ID {
		return c.Publish()
	}
	return c.Save()
}

// KeepAs is sandbox.Spec.KeepAs of a container's runs.
func (c *Container) KeepAs() uint32 {
	if c.IDs.Map != string(policy.MapKeepID) || c.IDs.By == plan.ByParent {
		return 0
	}
	i := slices.IndexFunc(c.IDs.UID, func(m plan.Mapping) bool { return m.Outside == c.IDs.CloneUID && m.Count == 1 })
	if i < 0 {
		return 0
	}
	return c.IDs.UID[i].Inside
}

// admit lets a sandbox that has none of the caller's ids make uppers. Nobody else
// gets there, since the directory above is closed.
func (c *Container) admit() error {
	if c.IDs.Map != string(policy.MapIsolated) || c.IDs.By == plan.ByParent {
		return nil
	}
	if err := os.Chmod(c.Data(), 0o777); err != nil { //nolint:gosec // see above
		return fmt.Errorf("making a container: %w", err)
	}
	return nil
}

// layersOf are the overlays of a plan.
func (c *Container) layersOf(res *sandbox.Resolution) []Layer {
	diffIDs := c.diffIDs
	if !c.fresh && len(c.Layers) > 0 {
		diffIDs = c.Layers[0].DiffIDs
	}
	var list []Layer
	for _, op := range res.Kept() {
		l := Layer{Kind: CowLayer, Target: Bytes(op.Target), Source: Bytes(op.Source)}
		if op.Kind == plan.Root {
			l.Kind = RootLayer
			if c.Image != nil {
				l.Source, l.DiffIDs = "", diffIDs
			}
		}
		list = append(list, l)
	}
	return list
}

func sameLayers(a, b []Layer) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Kind != b[i].Kind || a[i].Target != b[i].Target || a[i].Source != b[i].Source || len(a[i].DiffIDs) != len(b[i].DiffIDs) {
			return false
		}
		for j := range a[i].DiffIDs {
			if a[i].DiffIDs[j] != b[i].DiffIDs[j] {
				return false
			}
		}
	}
	return true
}

// ownPaths are what brig makes in the root by itself, and what was given.
func ownPaths(p *plan.Plan) (own []string, given []Bytes) {
	if root := p.Find(plan.Root); root == nil || !root.Flags.Has(plan.InSource) {
		return nil, nil
	}
	for i := range p.Ops {
		switch op := &p.Ops[i]; op.Kind {
		case plan.Mkdir, plan.Symlink, plan.File:
			own = append(own, op.Target)
		case plan.Bind, plan.Overlay, plan.Tmpfs, plan.Copy:
			given = append(given, Bytes(op.Target))
		default:
		}
	}
	return own, given
}

// Finish records how a run ended; one that never began leaves the one before it.
func (c *Container) Finish(result *sandbox.Result, failure error) error {
	if !c.begun {
		return nil
	}
	c.Run.Finished = time.Now().UTC()
	if failure != nil {
		c.Run.Message = failure.Error()
	}
	if result != nil {
		c.Run.Outcome, c.Run.ExitCode = string(result.Outcome), result.ExitCode()
		if result.Message != "" {
			c.Run.Message = result.Message
		}
	}
	return c.saveEnd()
}

// checkUpper tells whether overlayfs takes a directory for its uppers, by what
// it asks of it: user.* attributes and whiteouts, and no overlay of its own.
func checkUpper(dir string) error {
	refuse := func(why string) error {
		return fmt.Errorf("%s cannot hold the layers of containers: %s\n  fix: set XDG_DATA_HOME to a directory on ext4, xfs, btrfs or tmpfs", dir, why)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return refuse(err.Error())
	}
	if uint32(st.Type) == unix.OVERLAYFS_SUPER_MAGIC {
		return refuse("it is on an overlay file system itself")
	}
	const probe = "user.overlay.probe"
	if err := unix.Setxattr(dir, probe, []byte("y"), 0); err != nil {
		return refuse(fmt.Sprintf("its file system (type %s) takes no user.* attributes: %v", strconv.FormatUint(uint64(uint32(st.Type)), 16), err))
	}
	if err := unix.Removexattr(dir, probe); err != nil {
		return refuse(err.Error())
	}
	white := filepath.Join(dir, ".probe")
	if err := unix.Mknod(white, unix.S_IFCHR, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return refuse("whiteouts cannot be made in it: " + err.Error())
	}
	return os.Remove(white)
}
