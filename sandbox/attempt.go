package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

// start starts the job on a host as the facts describe it.
func start(ctx context.Context, spec *Spec, host *probe.Host, lease *userns.Lease) (*attempt, error) {
	var upper *upperDir
	if spec.Keep != nil {
		upper = &upperDir{keep: spec.Keep}
	} else if !host.TmpfsXattr.OK && needsUpper(spec, host) {
		var err error
		if upper, err = newUpperDir(spec.Policy.User.Map); err != nil {
			return nil, errUpper(err)
		}
		host.Upper = upper.data()
	}
	s, err := startOn(ctx, spec, host, lease, upper)
	if err != nil && upper != nil {
		_ = upper.close()
	}
	return s, err
}

// startOn starts the job on a host with the directory it may need.
func startOn(ctx context.Context, spec *Spec, host *probe.Host, lease *userns.Lease, upper *upperDir) (*attempt, error) {
	res, views, err := resolveWithViews(spec, host, spec.Child.Begin)
	if err != nil {
		return nil, err
	}
	if spec.Resolved != nil {
		spec.Resolved(res)
	}
	s := &attempt{spec: spec, host: host, res: res, lease: lease, upper: upper, views: views}
	defer s.closeViews()
	if spec.Keep != nil && spec.Keep.Resolved != nil {
		if err := spec.Keep.Resolved(res); err != nil {
			return nil, err
		}
	}
	if upper != nil {
		if err := upper.guard(&res.Plan.IDs, func(pid int) error { return s.writeMaps(ctx, pid) }); err != nil {
			return nil, errUpper(err)
		}
		if spec.Keep == nil {
			sweepUppers(ctx, s)
		}
	}
	filters, first, err := s.filters(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.readPacks(); err != nil {
		s.closePacks()
		return nil, err
	}
	defer s.closePacks()
	s.sup = newSupervisor(s)
	if err := s.openStdio(); err != nil {
		return nil, err
	}
	if err := s.makeGroup(ctx); err != nil {
		s.io.close()
		return nil, explainStart(err, s.host)
	}
	if err := s.launch(ctx, filters, first); err != nil {
		s.io.close()
		if s.group != nil {
			_ = s.group.Close()
		}
		return nil, err
	}
	return s, nil
}

// makeGroup begins to make the control group of the plan.
func (s *attempt) makeGroup(ctx context.Context) error {
	op := s.res.Plan.Find(plan.Cgroup)
	if op == nil {
		return nil
	}
	cfg := &cgroup.Config{Driver: op.Data, Parent: op.Source, Socket: s.host.Cgroups.Socket, Bus: s.host.Cgroups.Bus}
	for _, list := range []struct {
		text []string
		to   *[]cgroup.Setting
	}{{op.Names, &cfg.Limits}, {op.Write, &cfg.Job}} {
		for _, text := range list.text {
			setting, err := cgroup.ParseSetting(text)
			if err != nil {
				return err
			}
			*list.to = append(*list.to, setting)
		}
	}
	var err error
	if op.Flags.Has(plan.Delegated) {
		if cfg.Delegate, err = delegateTo(s.res.Plan); err != nil {
			return err
		}
	}
	s.group, err = cgroup.Prepare(ctx, cfg)
	return err
}

// filters are the job's seccomp programs, and whether they allow at any rate
// what the job's process waits with.
func (s *attempt) filters(ctx context.Context) (list [][]byte, first bool, err error) {
	if s.res.FilterKey == "" {
		return nil, false, nil
	}
	loader := seccomp.Loader{Shipped: s.spec.Filter, Cache: seccomp.CacheDir()}
	l, err := loader.Load(ctx, s.res.Filter, s.res.FilterOptions, s.host.Arch)
	if err != nil {
		fix := "check the [seccomp] table: brig policy check"
		if errors.Is(err, seccomp.ErrNoCompiler) {
			fix = "install brig-filterc beside brig, or use a shipped policy's [seccomp] table unchanged"
		}
		return nil, false, &Error{Code: CodeFilter, Message: "the seccomp filter cannot be had: " + SafeText(err.Error()), Fix: fix, Cause: err}
	}
	for _, f := range l.Program.Filters {
		list = append(list, seccomp.AppendInsns(nil, f))
	}
	return list, l.Program.AllowsAlways(unix.SYS_READ) && l.Program.AllowsAlways(unix.SYS_CLOSE_RANGE), nil
}

// readPacks reads what the plan copies in.
func (s *attempt) readPacks() error {
	left := int64(s.spec.Policy.Limits.Scratch)
	for i := range s.res.Plan.Ops {
		op := &s.res.Plan.Ops[i]
		if op.Kind != plan.Copy && (op.Kind != plan.File || op.Source == "") {
			continue
		}
		p, err := launch.ReadPack(op, left)
		if err != nil {
			return &Error{Code: CodeSource, Message: SafeText(err.Error()), Cause: err}
		}
		if left >= 0 {
			left -= p.Size()
		}
		s.packs = append(s.packs, p)
	}
	return nil
}

func (s *attempt) closePacks() {
	for _, p := range s.packs {
		p.Close()
	}
	s.packs = nil
}

// closeViews closes what the sandbox's init has by now.
func (s *attempt) closeViews() {
	launch.CloseViews(s.views)
	s.views = nil
}

func (s *attempt) openStdio() error {
	limit := Unknown
	if n := s.spec.Policy.Limits.Output; n != policy.Unlimited {
		limit = Amount(n)
	}
	in, out, errs := s.spec.Stdin, s.spec.Stdout, s.spec.Stderr
	var err error
	if s.spec.Terminal != nil {
		to, ok := out.(*os.File)
		if !ok {
			to = s.spec.Terminal
		}
		if s.term, err = openTerminal(s.spec.Terminal, to); err != nil {
			return &Error{Code: CodeStdio, Message: err.Error(), Cause: err}
		}
		in, out, errs = nil, nil, nil
	}
	s.io, err = openStdio(in, out, errs, limit, s.sup.outputOver)
	if err != nil {
		return &Error{Code: CodeStdio, Message: err.Error(), Cause: err}
	}
	return nil
}

// launch starts the plan. The job's ends of the pipes are closed here whatever
// happens, since until then no end of file is seen.
func (s *attempt) launch(ctx context.Context, filters [][]byte, first bool) error {
	cfg := &launch.Config{
		Plan: s.res.Plan, Child: s.spec.takeChild(), Env: s.spec.Env, Filters: filters, FilterFirst: first, StopAt: s.spec.StopAt,
		Packs: s.packs, Views: s.views,
		WriteMaps: func(pid int) error { return s.writeMaps(ctx, pid) }, Context: ctx,
	}
	if s.group != nil {
		cfg.Group = s.group
	}
	if k := s.spec.Keep; k != nil && k.Lock > 0 {
		cfg.Keep = k.Lock
	} else if s.lease != nil {
		// The ids stay locked until the last process that has them is gone,
		// also when brig is killed.
		cfg.Keep = s.lease.FD()
	}
	null := -1
	for i, end := range s.io.jobEnds {
		if end < 0 && null < 0 {
			var err error
			if null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
				return fmt.Errorf("opening the null device: %w", err)
			}
			defer unix.Close(null)
		}
		if end < 0 {
			end = null
		}
		cfg.Stdio[i] = uintptr(end)
	}
	var err error
	s.box, err = launch.Start(cfg)
	s.io.closeJobEnds()
	if err != nil {
		return explainStart(err, s.host)
	}
	return nil
}

func (s *attempt) writeMaps(ctx context.Context, pid int) error {
	return writeMaps(ctx, pid, &s.res.Plan.IDs, s.host.Tools)
}

func writeMaps(ctx context.Context, pid int, of *plan.IDs, tools userns.Tools) error {
	ids := userns.IDs{UID: usernsMap(of.UID), GID: usernsMap(of.GID)}
	if of.By == plan.ByParent {
		return userns.WriteMapsDirect(pid, ids)
	}
	return userns.WriteMaps(ctx, pid, ids, tools)
}

func usernsMap(list []plan.Mapping) userns.Map {
	m := make(userns.Map, len(list))
	for i, e := range list {
		m[i] = userns.Mapping{Inside: e.Inside, Outside: e.Outside, Count: e.Count}
	}
	return m
}
