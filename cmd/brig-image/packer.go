package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/image/layer"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// packing is what is written as an archive: layers, bottom first, with the ids
// that they belong to.
type packing struct {
	layers []string
	opts   layer.PackOptions
	// The mapping, and the ids inside that the caller's own become with keep-id
	// and single.
	kind     policy.UserMap
	uid, gid uint32
	ids      *plan.IDs // what the mapping has to be; nil where nothing is recorded
}

// packFiles is how many directories may be open at a time while packing, where
// the caller may have that many.
const packFiles = 16384

// pack writes an archive, from within a sandbox that sees the layers alone and
// may write none of them.
func (u *unpacker) pack(ctx context.Context, w io.Writer, p *packing) (*layer.Report, error) {
	opts, err := json.Marshal(p.opts)
	if err != nil {
		return nil, err
	}
	spec, err := u.spec("/", rolePack, string(opts))
	if err != nil {
		return nil, err
	}
	pol := spec.Policy
	pol.Filesystem.Mounts = slices.DeleteFunc(pol.Filesystem.Mounts, func(m policy.Mount) bool { return m.Target == insideDir })
	for i, dir := range p.layers {
		target := insideDir + "/" + strconv.Itoa(i)
		pol.Filesystem.Mounts = append(pol.Filesystem.Mounts, policy.Mount{Type: policy.Bind, Source: dir, Target: target, Access: policy.ReadOnly})
		spec.Args = append(spec.Args, target)
	}
	pol.User.Map, pol.User.UID, pol.User.GID = p.kind, p.uid, p.gid
	pol.Limits.Output = policy.Unlimited
	pol.Limits.OpenFiles = openFiles()
	if p.ids != nil {
		res, err := sandbox.Prepare(spec)
		if err != nil {
			return nil, err
		}
		if ids := &res.Plan.IDs; ids.Map != p.ids.Map || !slices.Equal(ids.UID, p.ids.UID) || !slices.Equal(ids.GID, p.ids.GID) {
			return nil, errors.New("the files belong to subordinate ids that are not the caller's any more\n  fix: give the user the same ones again (/etc/subuid, /etc/subgid)")
		}
	}
	out := &sink{w: w}
	var errs bytes.Buffer
	spec.Stdout, spec.Stderr = out, &errs
	result, err := sandbox.Run(ctx, spec)
	switch {
	case out.err != nil:
		return nil, out.err // whatever it led to
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return readAnswer(errs.Bytes(), nil, result)
}

// openFiles is packFiles, or as many as the caller may have.
func openFiles() policy.Count {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return packFiles
	}
	return policy.Count(min(packFiles, l.Max))
}

// insideOf is the id inside of one outside; 0 where it has none.
func insideOf(list []plan.Mapping, outside uint32) uint32 {
	for _, m := range list {
		if outside >= m.Outside && outside-m.Outside < m.Count {
			return m.Inside + outside - m.Outside
		}
	}
	return 0
}

// sink remembers why nothing more could be written.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err != nil {
		s.err = fmt.Errorf("writing the archive: %w", err)
	}
	return n, err
}
