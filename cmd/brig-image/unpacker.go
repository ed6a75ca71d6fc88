package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/configs/compiled"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/layer"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/userns"
)

// Where the sandboxed program and its directory are inside.
const (
	insideProgram = "/brig-image"
	insideDir     = "/layer"
)

// unpacker runs the sandboxed roles under the shipped policy "unpack".
type unpacker struct {
	self    string
	mapName string
	squash  bool
	owner   *[2]int // ids outside of root inside, where the caller is root; else nil
	keepAs  uint32  // of the sandbox that unpacks, see sandbox.Spec
}

// newUnpacker finds out which mapping this host gives.
func newUnpacker() (*unpacker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding brig-image: %w", err)
	}
	u := &unpacker{self: self}
	spec, err := u.trial()
	if err != nil {
		return nil, err
	}
	res, err := sandbox.Prepare(spec)
	if err != nil {
		return nil, err
	}
	ids := &res.Plan.IDs
	u.mapName, u.squash = image.Single, true
	if ids.Map != string(policy.MapSingle) {
		uid, gid := ids.UID, ids.GID
		if ids.By != plan.ByParent {
			uid, gid = uid[1:], gid[1:] // the first is the caller's own
		}
		firstUID, uids := extent(uid)
		firstGID, gids := extent(gid)
		u.mapName, u.squash = image.MapName(firstUID, uids, firstGID, gids), false
	}
	if ids.By == plan.ByParent {
		u.owner = &[2]int{int(ids.CloneUID), int(ids.CloneGID)}
	}
	return u, nil
}

// keeping is the unpacker of the trees for runs in which the caller has that id,
// or with image.KeepApart none. Called by root there is one mapping. It is an error
// where there are no subordinate ids.
func (u *unpacker) keeping(ctx context.Context, keepAs uint32) (*unpacker, error) {
	if u.owner != nil {
		return u, nil
	}
	other := &unpacker{self: u.self, keepAs: keepAs}
	spec, err := other.trial()
	if err == nil {
		if keepAs >= image.KeepApart {
			spec.Policy.User.Map = policy.MapIsolated // as the user knows it
		}
		_, err = sandbox.Prepare(spec)
	}
	var sub userns.SubIDs
	if err == nil {
		sub, err = userns.LookupSubIDs(ctx, userns.LookupOptions{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	}
	if err != nil {
		return nil, err
	}
	other.mapName = image.KeepName(keepAs, sub)
	return other, nil
}

// trial is a sandbox like those that unpack, to see which mapping they get.
func (u *unpacker) trial() (*sandbox.Spec, error) {
	spec, err := u.spec("/")
	if err != nil {
		return nil, err
	}
	spec.Policy.Filesystem.Mounts = nil
	spec.Args = []string{"/bin/true"}
	return spec, nil
}

// extent is the first id outside, and how many there are.
func extent(list []plan.Mapping) (first, count uint32) {
	for i, m := range list {
		if i == 0 {
			first = m.Outside
		}
		count += m.Count
	}
	return first, count
}

// hand gives a directory that root has made to the ids inside, which are not
// root's.
func (u *unpacker) hand(dir string) error {
	if u.owner == nil {
		return nil
	}
	return os.Lchown(dir, u.owner[0], u.owner[1])
}

// Map implements image.Unpacker.
func (u *unpacker) Map() string { return u.mapName }

// spec is a sandbox that is given one directory to write and this program.
func (u *unpacker) spec(dir string, args ...string) (*sandbox.Spec, error) {
	p, _, err := policy.Load(policy.LoadOptions{
		Name: "unpack", Shipped: configs.FS, Files: os.DirFS("/"), SystemDir: "/etc/brig", Dir: "/", Compiled: compiled.Policy,
	})
	if err != nil {
		return nil, err
	}
	p.Filesystem.Mounts = append(slices.Clone(p.Filesystem.Mounts),
		program(u.self),
		policy.Mount{Type: policy.Bind, Source: dir, Target: insideDir, Access: policy.ReadWrite})
	spec := sandbox.NewSpec(p, append([]string{insideProgram}, args...)...)
	spec.Dir = "/"
	spec.Private = nil // the directory is a part of them, and this is what they are kept for
	spec.Filter = configs.Filter
	spec.Stored = true
	if spec.KeepAs = u.keepAs; u.keepAs != 0 {
		p.User.Map = policy.MapKeepID // and no less
	}
	return spec, nil
}

// program gives a sandbox this program. Called by root the ids inside are not
// root's, and reach nothing below a directory that is closed to others, as root's
// home is: from there it is copied.
func program(self string) policy.Mount {
	m := policy.Mount{Type: policy.Bind, Source: self, Target: insideProgram, Access: policy.ReadOnly}
	if os.Getuid() != 0 {
		return m
	}
	for dir := filepath.Dir(self); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o001 == 0 {
			m.Access = policy.Copy
			return m
		}
		if dir == "/" {
			return m
		}
	}
}

// run runs one job and reads its answer.
func (u *unpacker) run(ctx context.Context, spec *sandbox.Spec) (*layer.Report, error) {
	var out, errs bytes.Buffer
	spec.Stdout, spec.Stderr = &out, &errs
	result, err := sandbox.Run(ctx, spec)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return readAnswer(out.Bytes(), errs.Bytes(), result)
}

// readAnswer reads what the sandboxed program said of its work.
func readAnswer(out, errs []byte, result *sandbox.Result) (*layer.Report, error) {
	var a answer
	if jerr := json.Unmarshal(out, &a); jerr != nil || a.Error == "" && result.Outcome != sandbox.OutcomeOK {
		detail := result.Message
		if text := bytes.TrimSpace(errs); len(text) > 0 {
			detail += ": " + string(text[:min(len(text), 300)])
		}
		return nil, fmt.Errorf("the sandboxed part of brig failed: %s", sandbox.SafeText(detail))
	}
	if a.Full {
		return nil, fmt.Errorf("%w: %s", errDiskFull, a.Error)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.Report, nil
}

// errDiskFull is what the sandboxed program says of a file system that it knows by
// another name.
var errDiskFull = errors.New("the disk is full")

// Unpack implements image.Unpacker.
func (u *unpacker) Unpack(ctx context.Context, r io.Reader, dir string, limits image.Limits) (*image.Layer, error) {
	opts, err := json.Marshal(layer.Options{
		Limits: layer.Limits{Bytes: limits.Bytes, Files: limits.Files, Depth: limits.Depth}, Squash: u.squash,
	})
	if err != nil {
		return nil, err
	}
	if err := u.hand(dir); err != nil {
		return nil, err
	}
	spec, err := u.spec(dir, roleUnpack, insideDir, string(opts))
	if err != nil {
		return nil, err
	}
	spec.Stdin = r
	report, err := u.run(ctx, spec)
	if errors.Is(err, errDiskFull) {
		return nil, fmt.Errorf("unpacking into %s: %w\n  fix: make room on this file system, or set XDG_DATA_HOME to a directory on another one", dir, err)
	}
	if err != nil {
		return nil, err
	}
	if report == nil {
		return nil, errors.New("the sandboxed part of brig said nothing about the layer")
	}
	return &image.Layer{Bytes: report.Bytes, Files: report.Files, Notes: report.Notes}, nil
}

// removeTries is how often a removal is tried: the sandbox of a brig that was
// killed ends a moment later, and until then something may be written.
const removeTries = 5

// Remove implements image.Unpacker.
func (u *unpacker) Remove(ctx context.Context, dirs ...string) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, dir := range dirs {
		err := u.remove(ctx, dir)
		for try := 1; err != nil && try < removeTries; try++ {
			time.Sleep(50 * time.Millisecond)
			err = u.remove(ctx, dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (u *unpacker) remove(ctx context.Context, dir string) error {
	spec, err := u.spec(dir, roleRemove, insideDir)
	if err != nil {
		return err
	}
	spec.KeepAs = image.KeepApart // reaches the trees of all mappings
	if _, err = u.run(ctx, spec); err != nil {
		return err
	}
	return os.Remove(dir)
}
