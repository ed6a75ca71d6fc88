package sandbox

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/rootfs"
)

// Image is an image whose layers are unpacked, with what of its config says how
// it is run (image-spec, config.md). Whoever keeps images fills it in.
type Image struct {
	// Ref is the image's name as the user gave it, Digest its manifest's.
	Ref, Digest string
	// Layers and LayerMap are those of Spec.
	Layers   []string
	LayerMap policy.UserMap

	Entrypoint, Cmd []string
	Env             []string // NAME=value
	WorkingDir      string
	User            string // name or id, [:group]
	StopSignal      string // name or number
	Volumes         []string
	Labels          map[string]string
}

// ImageOptions is what the caller says about the run of an image.
type ImageOptions struct {
	// User takes the place of the image's; empty where nobody said anything.
	User string
	// Entrypoint takes the place of the image's, and of its Cmd, where it is not
	// nil; an empty one leaves the image's out.
	Entrypoint []string
	// KeepPath says that the policy's PATH is the caller's own wish. Otherwise the
	// image's, which knows where its programs are, goes before it.
	KeepPath bool
	// Capabilities are those of the policy's that the caller has asked for by
	// name: a user of the image's who is not root gets no others, as with Docker.
	Capabilities []string
	// Lookup finds the caller's variables, as os.LookupEnv does.
	Lookup func(string) (string, bool)
}

// maxVolumes bounds the volumes of an image: each is a step of the plan.
const maxVolumes = 100

// dockerPath is PATH where neither the image nor the policy sets one, as Docker
// has it.
const dockerPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// UseImage makes an image's layers the root file system of the spec, whose
// policy has to name an image there, and honours the image's config as Docker
// does. The spec's arguments take the place of the image's command; the
// policy's variables but PATH, and its working directory, go before the image's. The
// image's user goes before the policy's; an image that names none runs as the
// policy's. The spec gets a policy of its own.
//
// It looks into the layers for users and directories. Its errors are *Error.
func (s *Spec) UseImage(img *Image, o ImageOptions) error {
	p := *s.Policy
	s.Policy = &p
	s.Layers, s.LayerMap, s.Stored = img.Layers, img.LayerMap, true
	if err := img.command(s, &o); err != nil {
		return err
	}
	u, err := img.user(s, &o)
	if err != nil {
		return &Error{Code: CodeIDs, Message: fmt.Sprintf("image %s: %s", SafeText(img.Ref), SafeText(err.Error())), Fix: "name another user with --user", Cause: err}
	}
	p.User.UID, p.User.GID, s.Groups = u.UID, u.GID, u.Groups
	s.Env = img.environment(&p, &o, u)
	if p.Filesystem.Workdir == "" && img.WorkingDir != "" {
		p.Filesystem.Workdir = path.Clean("/" + img.WorkingDir)
	}
	if strings.ContainsRune(img.WorkingDir, 0) {
		return newError(CodeBadSpec, fmt.Sprintf("image %s: its working directory holds a NUL byte", SafeText(img.Ref)), "choose one with --workdir")
	}
	if err := img.volumes(s, &p); err != nil {
		return err
	}
	if img.StopSignal != "" && s.Stop.Signal == 0 {
		sig, err := ParseSignal(img.StopSignal)
		if err != nil {
			return newError(CodeBadSpec, fmt.Sprintf("image %s: its stop signal: %s", SafeText(img.Ref), SafeText(err.Error())), "choose one with --stop-signal")
		}
		s.Stop.Signal = sig
	}
	if w := p.Filesystem.Workdir; w != "" {
		s.Missing = append(s.Missing, w)
	}
	s.Missing = slices.DeleteFunc(s.Missing, func(dir string) bool { return rootfs.IsDir(img.Layers, dir) })
	s.Notes = img.notes(u)
	if u.UID != 0 {
		kept := slices.DeleteFunc(slices.Clone(p.User.Capabilities), func(c string) bool { return !slices.Contains(o.Capabilities, c) })
		if n := len(p.User.Capabilities) - len(kept); n > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("%d capabilities of the policy are for root, and user %d has none of them", n, u.UID))
		}
		p.User.Capabilities = kept
	}
	return nil
}

// command puts the job's command together.
func (img *Image) command(s *Spec, o *ImageOptions) error {
	entry, args := img.Entrypoint, s.Args
	if o.Entrypoint != nil {
		entry = slices.DeleteFunc(slices.Clone(o.Entrypoint), func(w string) bool { return w == "" })
	} else if len(args) == 0 {
		args = img.Cmd
	}
	s.Args = slices.Concat(entry, args)
	if len(s.Args) == 0 {
		return newError(CodeNoCommand, fmt.Sprintf("no command to run: image %s names none", SafeText(img.Ref)), "name one: brig run --image IMAGE -- COMMAND [ARG...]")
	}
	return nil
}

// user is whom the job runs as.
func (img *Image) user(s *Spec, o *ImageOptions) (*rootfs.User, error) {
	spec := img.User
	if o.User != "" {
		spec = o.User
	}
	if spec != "" {
		return rootfs.FindUser(img.Layers, spec)
	}
	ids := &s.Policy.User
	u, err := rootfs.FindUser(img.Layers, strconv.FormatUint(uint64(ids.UID), 10))
	if err == nil {
		u.GID = ids.GID
		u.Groups = slices.DeleteFunc(u.Groups, func(g uint32) bool { return g == ids.GID })
	}
	return u, err
}

// environment is the image's with the policy's on top.
func (img *Image) environment(p *policy.Policy, o *ImageOptions, u *rootfs.User) []string {
	env := map[string]string{"HOME": "/", "PATH": dockerPath}
	if u.Home != "" && !strings.ContainsRune(u.Home, 0) {
		env["HOME"] = u.Home
	}
	for _, v := range img.Env {
		if name, value, ok := strings.Cut(v, "="); ok && name != "" && !strings.ContainsRune(v, 0) {
			env[name] = value
		}
	}
	own := env["PATH"]
	lookup := o.Lookup
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	list := environment(p, lookup, env)
	if !o.KeepPath {
		i := slices.IndexFunc(list, func(v string) bool { return strings.HasPrefix(v, "PATH=") })
		list[i] = "PATH=" + own
	}
	return list
}

// environment puts what a policy gives on top of env. The result is sorted.
func environment(p *policy.Policy, lookup func(string) (string, bool), env map[string]string) []string {
	for _, name := range p.Environment.Inherit {
		if v, ok := lookup(name); ok && !strings.ContainsRune(v, 0) {
			env[name] = v
		}
	}
	maps.Copy(env, p.Environment.Set)
	list := make([]string, 0, len(env))
	for name, v := range env {
		list = append(list, name+"="+v)
	}
	slices.Sort(list)
	return list
}

// volumes makes the image's volumes places that may be written. In a writable
// root they are that already, with what the image has there, and lie in the
// scratch with everything else; in a read-only one each is a tmpfs of its own.
func (img *Image) volumes(s *Spec, p *policy.Policy) error {
	bad := func(problem string, v string) error {
		return newError(CodeBadSpec, fmt.Sprintf("image %s: its volume %s %s", SafeText(img.Ref), SafeText(clip(v)), problem), "use another image")
	}
	if len(img.Volumes) > maxVolumes {
		return newError(CodeBadSpec, fmt.Sprintf("image %s has %d volumes, the most is %d", SafeText(img.Ref), len(img.Volumes), maxVolumes), "use another image")
	}
	var list []string
	for _, v := range img.Volumes {
		clean := path.Clean(v)
		switch {
		case strings.ContainsRune(v, 0) || !path.IsAbs(v):
			return bad("is no absolute path", v)
		case clean == "/" || within(clean, "/proc") || within(clean, "/dev") || within(clean, "/sys"):
			return bad("would hide what the sandbox is made of", v)
		}
		if !slices.Contains(list, clean) && !slices.ContainsFunc(p.Filesystem.Mounts, func(m policy.Mount) bool { return m.Target == clean }) {
			list = append(list, clean)
		}
	}
	slices.Sort(list)
	if !p.Filesystem.ReadOnly {
		s.Missing = list
		return nil
	}
	p.Filesystem.Mounts = slices.Clone(p.Filesystem.Mounts)
	for _, v := range list {
		p.Filesystem.Mounts = append(p.Filesystem.Mounts, policy.Mount{Type: policy.Tmpfs, Target: v})
	}
	return nil
}

// maxLabels is how many labels the plan's notes show.
const maxLabels = 50

// notes tell in the plan what is run.
func (img *Image) notes(u *rootfs.User) []string {
	who := strconv.FormatUint(uint64(u.UID), 10)
	if u.Name != "" {
		who += " (" + u.Name + ")"
	}
	list := []string{fmt.Sprintf("image %s, %s, as user %s", img.Ref, img.Digest, who)}
	for i, name := range slices.Sorted(maps.Keys(img.Labels)) {
		if i == maxLabels {
			list = append(list, fmt.Sprintf("and %d labels more", len(img.Labels)-maxLabels))
			break
		}
		list = append(list, fmt.Sprintf("label %s=%s", clip(name), clip(img.Labels[name])))
	}
	return list
}
