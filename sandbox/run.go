package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

// Run runs a job and waits for its end. The result is complete also where the
// error is not nil: its outcome is then "error". The error is brig's failure,
// an *Error where the user can do something about it; how the job ended is
// never an error.
//
// When ctx ends the sandbox is ended with everything in it, and the outcome is
// "cancelled"; a cause of type *Cancelled names the signal that asked for it.
func Run(ctx context.Context, spec *Spec) (*Result, error) {
	s, err := begin(ctx, spec)
	if err != nil {
		return Failed(err), err
	}
	s.sup.run(ctx)
	return s.Wait()
}

// Cancelled is the cause of a context that a signal ended.
type Cancelled struct{ Signal unix.Signal }

func (c *Cancelled) Error() string { return "cancelled by " + signalName(c.Signal) }

// Sandbox is a job that has been started.
type Sandbox struct {
	spec  *Spec
	host  *probe.Host
	res   *Resolution
	lease *userns.Lease
	box   *launch.Sandbox
	io    *stdio
	term  *terminal // nil without one
	packs []*launch.Pack
	sup   *supervisor
	done  chan struct{}
	// Of the supervisor until done is closed.
	result *Result
	err    error
}

// Start starts a job. It returns when the sandbox's first process exists; what
// goes wrong later is Wait's.
func Start(ctx context.Context, spec *Spec) (*Sandbox, error) {
	s, err := begin(ctx, spec)
	if err != nil {
		return nil, err
	}
	go s.sup.run(ctx)
	return s, nil
}

// begin starts the sandbox; somebody must run its supervisor then.
func begin(ctx context.Context, spec *Spec) (*Sandbox, error) {
	host, lease, err := look(spec.Question())
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, spec, host, lease)
	if err != nil {
		if lease != nil {
			lease.Close()
		}
		return nil, err
	}
	return s, nil
}

// Prepare resolves a spec on this host without running anything: what `brig
// run --plan` prints.
func Prepare(spec *Spec) (*Resolution, error) {
	q := spec.Question()
	q.Mounts = true // a launch finds out by trying, and only then reads them
	host, lease, err := look(q)
	if err != nil {
		return nil, err
	}
	if lease != nil {
		defer lease.Close()
	}
	return Resolve(spec, host)
}

// look gathers the facts. Called by root it also sets a range of ids aside.
func look(q probe.Question) (*probe.Host, *userns.Lease, error) {
	root := os.Getuid() == 0
	q.SubIDs = q.SubIDs && !root
	host, err := probe.Quick(q)
	if err != nil {
		return nil, nil, fmt.Errorf("looking at this host: %w", err)
	}
	host.Rotation = os.Getpid()
	if !root {
		return host, nil, nil
	}
	lease, err := userns.AllocateRange(userns.AllocateOptions{})
	if err != nil {
		var p *userns.Problem
		if errors.As(err, &p) {
			return nil, nil, &Error{Code: CodeIDs, Message: p.Cause, Fix: p.Fix, Cause: err}
		}
		return nil, nil, fmt.Errorf("setting a range of ids aside: %w", err)
	}
	host.SubIDs = lease.SubIDs()
	return host, lease, nil
}

func start(ctx context.Context, spec *Spec, host *probe.Host, lease *userns.Lease) (*Sandbox, error) {
	res, err := Resolve(spec, host)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{spec: spec, host: host, res: res, lease: lease, done: make(chan struct{})}
	filters, err := s.filters(ctx)
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
	if err := s.launch(ctx, filters); err != nil {
		s.io.close()
		return nil, err
	}
	return s, nil
}

// filters are the job's seccomp programs.
func (s *Sandbox) filters(ctx context.Context) ([][]byte, error) {
	if s.res.FilterKey == "" {
		return nil, nil
	}
	loader := seccomp.Loader{Shipped: s.spec.Filter, Cache: seccomp.CacheDir()}
	l, err := loader.Load(ctx, s.res.Filter, s.res.FilterOptions, s.host.Arch)
	if err != nil {
		fix := "check the [seccomp] table: brig policy check"
		if errors.Is(err, seccomp.ErrNoCompiler) {
			fix = "install brig-filterc beside brig, or use a shipped policy's [seccomp] table unchanged"
		}
		return nil, &Error{Code: CodeFilter, Message: "the seccomp filter cannot be had: " + SafeText(err.Error()), Fix: fix, Cause: err}
	}
	var list [][]byte
	for _, f := range l.Program.Filters {
		list = append(list, seccomp.AppendInsns(nil, f))
	}
	return list, nil
}

// readPacks reads what the plan copies in.
func (s *Sandbox) readPacks() error {
	left := int64(s.spec.Policy.Limits.Scratch)
	for i := range s.res.Plan.Ops {
		op := &s.res.Plan.Ops[i]
		if op.Kind != plan.Copy {
			continue
		}
		p, err := launch.ReadPack(op.Source, left)
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

func (s *Sandbox) closePacks() {
	for _, p := range s.packs {
		p.Close()
	}
	s.packs = nil
}

func (s *Sandbox) openStdio() error {
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
func (s *Sandbox) launch(ctx context.Context, filters [][]byte) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening the null device: %w", err)
	}
	defer null.Close()
	cfg := &launch.Config{
		Plan: s.res.Plan, Env: s.spec.Env, Filters: filters, Packs: s.packs, StopAt: s.spec.StopAt,
		WriteMaps: func(pid int) error { return s.writeMaps(ctx, pid) },
	}
	for i, end := range s.io.jobEnds {
		cfg.Stdio[i] = uintptr(end)
		if end < 0 {
			cfg.Stdio[i] = null.Fd()
		}
	}
	s.box, err = launch.Start(cfg)
	s.io.closeJobEnds()
	if err != nil {
		return explainStart(err, s.host)
	}
	return nil
}

func (s *Sandbox) writeMaps(ctx context.Context, pid int) error {
	ids := userns.IDs{UID: usernsMap(s.res.Plan.IDs.UID), GID: usernsMap(s.res.Plan.IDs.GID)}
	if s.res.Plan.IDs.By == plan.ByParent {
		return userns.WriteMapsDirect(pid, ids)
	}
	return userns.WriteMaps(ctx, pid, ids, s.host.Tools)
}

func usernsMap(list []plan.Mapping) userns.Map {
	m := make(userns.Map, len(list))
	for i, e := range list {
		m[i] = userns.Mapping{Inside: e.Inside, Outside: e.Outside, Count: e.Count}
	}
	return m
}

// Wait waits for the end and returns what Run returns.
func (s *Sandbox) Wait() (*Result, error) {
	<-s.done
	return s.result, s.err
}

// Kill ends the sandbox with everything in it; Wait then reports the outcome
// "cancelled". It may be called at any time and more than once.
func (s *Sandbox) Kill() { s.sup.cancel(0) }

// Signal sends a signal to the job's first process. Before the job runs, and
// after its end, it is an error that wraps os.ErrProcessDone.
func (s *Sandbox) Signal(sig unix.Signal) error { return s.sup.signal(sig) }
