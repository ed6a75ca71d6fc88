package sandbox

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// resolveMounts gives the job its directories, shortest target first, so that
// one given below another is not hidden by it.
func (r *resolver) resolveMounts() error {
	fsys := &r.p.Filesystem
	r.workdir = fsys.Workdir
	list := slices.Clone(fsys.Mounts)
	slices.SortStableFunc(list, func(a, b policy.Mount) int {
		return strings.Count(a.Target, "/") - strings.Count(b.Target, "/")
	})
	for i := range list {
		if err := r.resolveMount(&list[i]); err != nil {
			return err
		}
	}
	if r.workdir == "" {
		for _, m := range fsys.Mounts {
			if m.Source == r.spec.Dir && m.Type == policy.Bind {
				r.workdir = m.Target
			}
		}
	}
	if r.workdir == "" {
		r.workdir = "/"
	}
	r.makeMissing(list)
	if !r.below(r.workdir, list) && r.root.Flags&plan.InSource == 0 && !r.made[r.workdir] && !systemPath(r.workdir) {
		r.mkdir(r.workdir, 0o755, true)
		r.writable(r.workdir)
	}
	if err := r.resolveCommand(); err != nil {
		return err
	}
	r.sealRoot()
	return nil
}

func systemPath(p string) bool {
	return slices.ContainsFunc(systemDirs, func(d string) bool { return p == d || strings.HasPrefix(p, d+"/") })
}

func (r *resolver) below(p string, list []policy.Mount) bool {
	return slices.ContainsFunc(list, func(m policy.Mount) bool { return p == m.Target || strings.HasPrefix(p, m.Target+"/") })
}

func (r *resolver) resolveMount(m *policy.Mount) error {
	if m.Type == policy.Tmpfs {
		size := m.Size
		if size == 0 {
			size = r.p.Limits.Scratch
		}
		r.target(m.Target, true)
		r.mounts = append(r.mounts, plan.Op{Kind: plan.Tmpfs, Target: m.Target, Size: int64(size), Inodes: int64(r.p.Limits.ScratchInodes), Mode: 0o1777})
		r.tmpfs = append(r.tmpfs, launch.ReadyTmpfs+m.Target)
		r.writable(m.Target)
		return nil
	}
	f := r.host.Files[m.Source]
	switch {
	case (f.Type == probe.Absent || f.Type == "") && m.Optional:
		return nil
	case f.Type != probe.Dir && f.Type != probe.Regular:
		return r.sourceError("source", m.Source, f, "a file or directory")
	}
	if err := r.givable(m.Source, f); err != nil {
		return err
	}
	switch m.Access {
	case policy.ReadOnly:
		return r.bindMount(m, f, plan.ReadOnly)
	case policy.ReadWrite:
		if err := r.owns("rw", m, f); err != nil {
			return err
		}
		for _, dir := range r.spec.Private {
			if within(m.Source, dir) || within(dir, m.Source) {
				return newError(CodeSource, fmt.Sprintf("%s cannot be given rw: brig keeps in %s what decides about later runs", SafeText(m.Source), SafeText(dir)),
					"use access cow, or give a directory that holds none of it")
			}
		}
		r.writable(m.Target)
		return r.bindMount(m, f, 0)
	case policy.CopyOnWrite:
		return r.cow(m, f)
	case policy.Copy:
		return r.copyMount(m, f)
	}
	return newError(CodeBadSpec, fmt.Sprintf("access %q of %s", m.Access, SafeText(m.Target)), "use ro, rw, cow or copy")
}

// givable refuses what a policy does not give whole, by whatever name it is
// called: the home directory, what holds it, and the host's procfs.
func (r *resolver) givable(source string, f probe.File) error {
	if proc := r.host.Files["/proc"]; proc.Inode != 0 && f.Device == proc.Device {
		return newError(CodeSource, fmt.Sprintf("%s is part of the host's procfs, which shows the host's processes", SafeText(source)),
			"the sandbox has a /proc of its own")
	}
	if r.p.Filesystem.AllowHome {
		return nil
	}
	for dir := r.spec.home(); dir != ""; dir = parent(dir) {
		if h := r.host.Files[dir]; h.Inode != 0 && h.Inode == f.Inode && h.Device == f.Device {
			return newError(CodeSource, fmt.Sprintf("%s is %s: your home directory, and what holds it, is not given whole", SafeText(source), SafeText(dir)),
				"give a directory inside it, or set filesystem.allow_home = true if that is what you want")
		}
	}
	return nil
}

// within tells whether p is dir or below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// parent is the directory that holds dir; empty above the root.
func parent(dir string) string {
	if dir == "/" {
		return ""
	}
	return path.Dir(dir)
}

// home is the caller's home directory, empty where it is not known.
func (s *Spec) home() string {
	if path.IsAbs(s.Home) {
		return path.Clean(s.Home)
	}
	return ""
}

func (r *resolver) bindMount(m *policy.Mount, f probe.File, flags plan.Flags) error {
	h := r.openSource(m.Source, f, flags|plan.NoSuid|plan.NoDev)
	r.target(m.Target, f.Type == probe.Dir)
	r.mounts = append(r.mounts, plan.Op{Kind: plan.Bind, Handle: h, Target: m.Target})
	return nil
}

// owns refuses accesses that need the caller's own id inside the sandbox.
func (r *resolver) owns(access string, m *policy.Mount, f probe.File) error {
	if r.host.UID == 0 && (!r.spec.Stored || !mapped(r.plan.IDs.UID, f.UID)) {
		return newError(CodeSource, fmt.Sprintf("%s cannot be given %s: called by root, brig maps unprivileged ids only, and none of them owns it", SafeText(m.Source), access),
			"run brig as the user whose directory it is, or use access copy or ro")
	}
	if r.host.UID != 0 && r.plan.IDs.Map == string(policy.MapIsolated) {
		return newError(CodeSource, fmt.Sprintf("%s cannot be given %s with map isolated: the caller's own id is not in the sandbox, so nothing in it may be written", SafeText(m.Source), access),
			"use access copy, or --userns keep-id or single")
	}
	return nil
}

// mapped tells whether an id outside has one inside.
func mapped(list []plan.Mapping, outside uint32) bool {
	_, ok := plan.Inside(list, outside)
	return ok
}

func (r *resolver) copyMount(m *policy.Mount, f probe.File) error {
	if dir := path.Dir(m.Target); dir != "/" {
		r.target(dir, true)
	}
	r.mounts = append(r.mounts, plan.Op{Kind: plan.Copy, Source: m.Source, Target: m.Target, Device: f.Device, Inode: f.Inode})
	r.writable(m.Target)
	return nil
}

// target makes sure that there is something to mount on: in brig's own tree
// where the path leads through nothing else, else below the root, one
// component at a time.
func (r *resolver) target(p string, dir bool) {
	simple := (!r.root.Flags.Has(plan.InSource) || r.topLevel(p)) && !systemPath(p) && !r.below(path.Dir(p), r.p.Filesystem.Mounts) && !r.throughLink(p)
	switch {
	case simple && dir:
		r.mkdir(p, 0o755, true)
	case simple && !r.made[p]:
		r.file(p, "", 0o644)
	case !simple:
		op := plan.Op{Kind: plan.Mountpoint, Target: p}
		if dir {
			op.Flags = plan.Directory
		}
		r.mounts = append(r.mounts, op)
	}
}

// throughLink tells whether a link of brig's own tree is on the path.
func (r *resolver) throughLink(p string) bool {
	return slices.ContainsFunc(r.tree, func(op plan.Op) bool {
		return op.Kind == plan.Symlink && (op.Target == p || strings.HasPrefix(p, op.Target+"/"))
	})
}

// commandSource is the caller's file that the policy lets brig copy in to run
// it; empty where there is none.
func (s *Spec) commandSource() string {
	if !s.Policy.Filesystem.CopyCommand || len(s.Args) == 0 || !strings.ContainsRune(s.Args[0], '/') {
		return ""
	}
	p := s.Args[0]
	if filepath.IsAbs(p) && len(s.Layers) > 0 {
		return "" // a path of the image's
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(s.Dir, p)
	}
	p = filepath.Clean(p)
	if s.Policy.Filesystem.Root == "host" && systemPath(p) {
		return ""
	}
	return p
}

// resolveCommand copies the command's own file into the working directory
// where the policy says so and no mount brings it in.
func (r *resolver) resolveCommand() error {
	src := r.spec.commandSource()
	if src == "" {
		return nil
	}
	switch f := r.host.Files[src]; f.Type {
	case probe.Regular, probe.Symlink:
	case probe.Absent, "":
		if r.root.Flags.Has(plan.InSource) {
			return nil // it may be a path inside the root
		}
		return &Error{Code: CodeNotFound, Message: fmt.Sprintf("%s: no such file", SafeText(r.spec.Args[0])), Fix: "check the path: it is looked up on the host and copied in"}
	default:
		return r.sourceError("command", src, f, "a program")
	}
	r.mounts = append(r.mounts, plan.Op{Kind: plan.Copy, Source: src, Target: path.Join(r.workdir, filepath.Base(src))})
	return nil
}

// copiedCommand is where resolveCommand put the command, or empty.
func (r *resolver) copiedCommand() string {
	src := r.spec.commandSource()
	if src == "" {
		return ""
	}
	target := path.Join(r.workdir, filepath.Base(src))
	if slices.ContainsFunc(r.mounts, func(op plan.Op) bool { return op.Kind == plan.Copy && op.Target == target }) {
		return target
	}
	return ""
}
