package sandbox

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

// resolveWithViews resolves a spec and, called by root, makes the views of
// directories that the plan asks for. Which file systems take part is only found
// by trying: where one does not, that is noted in the host, and the plan is another
// one. early is resolve's; what root's sandboxes begin with is not known before.
func resolveWithViews(spec *Spec, host *probe.Host, early func(*launch.Beginning)) (*Resolution, []*launch.View, error) {
	if host.UID != 0 {
		res, err := resolve(spec, host, early)
		return res, nil, err
	}
	for {
		res, err := Resolve(spec, host)
		if err != nil {
			return nil, nil, err
		}
		refused, err := hasMounts(res.Plan)
		var views []*launch.View
		if err == nil && refused == nil {
			views, err = launch.OpenViews(res.Plan, writeViewMaps)
			_ = errors.As(err, &refused)
		}
		if refused == nil {
			if err != nil {
				err = explainStart(err, host)
			}
			return res, views, err
		}
		if !withoutView(host, refused.Op.Source, refused.Err) {
			return nil, nil, explainStart(err, host)
		}
	}
}

func writeViewMaps(pid int, uid, gid []plan.Mapping) error {
	return userns.WriteMapsDirect(pid, userns.IDs{UID: usernsMap(uid), GID: usernsMap(gid)})
}

// hasMounts looks for a directory below which something is mounted. Overlayfs
// would show what lies under it. Paths may lead through links, which the table of
// mounts does not.
func hasMounts(p *plan.Plan) (*launch.ViewError, error) {
	var mounts []probe.Mount
	for i := range p.Ops {
		op := &p.Ops[i]
		if !op.Flags.Has(plan.Mapped) {
			continue
		}
		dir, err := filepath.EvalSymlinks(op.Source)
		if err != nil {
			continue // gone since, which the op finds
		}
		if mounts == nil {
			if mounts, err = probe.ReadMounts(); err != nil {
				return nil, fmt.Errorf("looking for mounts below %s: %w", SafeText(op.Source), err)
			}
		}
		if m := mountBelow(mounts, dir); m != nil {
			return &launch.ViewError{Op: *op, Err: errors.New(mountedBelow(m))}, nil
		}
	}
	return nil, nil
}

// withoutView notes that there is no view of a source here, for the plan that comes
// next. It tells whether that is news.
func withoutView(host *probe.Host, source string, cause error) bool {
	if _, known := host.Views[source]; known {
		return false
	}
	text := cause.Error()
	if errno := unix.Errno(0); errors.As(cause, &errno) {
		switch text = fmt.Sprintf("the kernel makes no idmapped mount of it (%v)", errno); errno {
		case unix.EINVAL:
			text = "its file system takes no part in idmapped mounts, or not in overlays of them"
		case unix.EPERM, unix.EACCES:
			text = "the kernel refuses brig an idmapped mount of it: that needs CAP_SYS_ADMIN on the host itself, and a mount that is none yet"
		default:
		}
	}
	if host.Views == nil {
		host.Views = map[string]probe.Fact{}
	}
	host.Views[source] = probe.Fact{Tried: true, Cause: text}
	return true
}

// refusedView is the source of an overlay over a view that the kernel does not take
// for a layer; empty where a launch failed for another reason.
func refusedView(step *launch.StepError, p *plan.Plan) string {
	switch step.Errno {
	case unix.EINVAL, unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.ELOOP:
	default:
		return ""
	}
	for i := range p.Ops {
		op := &p.Ops[i]
		if step.Op.Kind == plan.Overlay && op.Kind == plan.Open && op.Handle == step.Op.Handle && op.Flags.Has(plan.Mapped) {
			return op.Source
		}
	}
	return ""
}
