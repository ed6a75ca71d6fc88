package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/launch"
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
	if err != nil && ctx.Err() != nil {
		// What failed is the consequence: helpers end with the context.
		e := Evidence{FileSizeRlimit: Unknown, Cancelled: true, CancelSignal: signalOf(ctx)}
		r := NewResult(e)
		r.StartedAt = time.Now().UTC()
		return r, nil //nolint:nilerr // see above
	}
	if err != nil {
		return Failed(err), err
	}
	if spec.Started != nil {
		spec.Started(s)
	}
	s.live(ctx)
	return s.Wait()
}

// Cancelled is the cause of a context that a signal ended.
type Cancelled struct{ Signal unix.Signal }

func (c *Cancelled) Error() string { return "cancelled by " + signalName(c.Signal) }

// signalOf is the signal that ended a context, 0 where it was none.
func signalOf(ctx context.Context) unix.Signal {
	var c *Cancelled
	if errors.As(context.Cause(ctx), &c) {
		return c.Signal
	}
	return 0
}

// Sandbox is a job that has been started.
type Sandbox struct {
	spec *Spec
	done chan struct{}

	mu sync.Mutex // attempt, for those who do not run it
	*attempt
}

// attempt is one sandbox for the job. There is a second one only where the
// first showed, before the job ran, that a fact about the host was wrong.
type attempt struct {
	spec  *Spec
	host  *probe.Host
	res   *Resolution
	group *cgroup.Group // nil where none is made
	lease *userns.Lease
	upper *upperDir // nil where the scratch holds all uppers
	box   *launch.Sandbox
	io    *stdio
	term  *terminal // nil without one
	packs []*launch.Pack
	views []*launch.View
	sup   *supervisor

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
	if spec.Started != nil {
		spec.Started(s)
	}
	go s.live(ctx)
	return s, nil
}

// begin starts the sandbox; somebody must call live then.
func begin(ctx context.Context, spec *Spec) (*Sandbox, error) {
	defer func() {
		spec.takeChild().Discard()
	}()
	host, lease, err := look(spec, spec.Question())
	if err != nil {
		return nil, err
	}
	a, err := start(ctx, spec, host, lease)
	if err != nil && ctx.Err() == nil {
		if again := lookAgain(ctx, err, host, spec); again != nil {
			a, err = start(ctx, spec, again, lease)
		}
	}
	if err != nil {
		if lease != nil {
			lease.Close()
		}
		return nil, err
	}
	return &Sandbox{spec: spec, attempt: a, done: make(chan struct{})}, nil
}

// lookAgain finds out by trying whether what was presumed of the host, or found
// on it earlier, is the reason for the error. It returns nil when nothing
// differs.
func lookAgain(ctx context.Context, err error, host *probe.Host, spec *Spec) *probe.Host {
	again, aerr := probe.Again(ctx, err, host, spec.Question())
	var refused *Error
	if again == nil && host.Cached && errors.As(err, &refused) && (refused.Code == CodeHost || refused.Code == CodeIDs) {
		if again, aerr = probe.Try(ctx, spec.Question()); again != nil && host.UID == 0 {
			again.SubIDs, again.SubIDsProblem = host.SubIDs, host.SubIDsProblem
		}
	}
	if aerr != nil || again == nil {
		return nil
	}
	again.Rotation = host.Rotation
	return again
}

// live is the life of the sandbox, until its result is there.
func (s *Sandbox) live(ctx context.Context) {
	defer close(s.done)
	s.sup.run(ctx)
	var step *launch.StepError
	if s.sup.began || !errors.As(s.err, &step) || ctx.Err() != nil {
		return
	}
	// Nothing of the job has run, and nothing of its input is taken.
	again := s.host
	if source := refusedView(step, s.res.Plan); source == "" || !withoutView(s.host, source, step.Errno) {
		again = lookAgain(ctx, s.err, s.host, s.spec)
	}
	if again == nil {
		return
	}
	a, err := s.retry(ctx, again)
	if err != nil {
		s.err, s.result = err, Failed(err)
		return
	}
	s.mu.Lock()
	s.attempt = a
	s.mu.Unlock()
	s.sup.run(ctx)
}

func (s *Sandbox) retry(ctx context.Context, host *probe.Host) (*attempt, error) {
	var lease *userns.Lease
	var err error
	if host.UID == 0 {
		if host.SubIDs, lease, err = rootsIDs(s.spec); err != nil {
			return nil, err
		}
	}
	a, err := start(ctx, s.spec, host, lease)
	if err != nil && lease != nil {
		lease.Close()
	}
	return a, err
}

// Prepare resolves a spec on this host without running anything: what `brig
// run --plan` prints.
func Prepare(spec *Spec) (*Resolution, error) {
	q := spec.Question()
	// A launch finds these out by trying, if at all: they cost time.
	q.Mounts = true
	for _, m := range spec.Policy.Filesystem.Mounts {
		if m.Access == policy.CopyOnWrite {
			q.Owners = append(q.Owners, m.Source)
		}
	}
	host, lease, err := look(spec, q)
	if err != nil {
		return nil, err
	}
	if lease != nil {
		defer lease.Close()
	}
	res, views, err := resolveWithViews(spec, host, nil)
	launch.CloseViews(views)
	return res, err
}

// look gathers the facts. Called by root it also sets a range of ids aside.
func look(spec *Spec, q probe.Question) (*probe.Host, *userns.Lease, error) {
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
	var lease *userns.Lease
	host.SubIDs, lease, err = rootsIDs(spec)
	return host, lease, err
}

// rootsIDs are the ids of a sandbox of root's: a range that nobody on this host
// has, which is held meanwhile, or the one that owns what is stored.
func rootsIDs(spec *Spec) (userns.SubIDs, *userns.Lease, error) {
	var ids userns.SubIDs
	var lease *userns.Lease
	var err error
	if spec.Stored || spec.Keep != nil {
		var r userns.Range
		r, err = userns.StoredRange(userns.AllocateOptions{})
		ids.UID, ids.GID = []userns.Range{r}, []userns.Range{r}
	} else if lease, err = userns.AllocateRange(userns.AllocateOptions{}); err == nil {
		ids = lease.SubIDs()
	}
	var p *userns.Problem
	if errors.As(err, &p) {
		return ids, nil, &Error{Code: CodeIDs, Message: SafeText(p.Detail()), Fix: p.Fix, Cause: err}
	}
	if err != nil {
		return ids, nil, fmt.Errorf("setting a range of ids aside: %w", err)
	}
	return ids, lease, nil
}

// Wait waits for the end and returns what Run returns.
func (s *Sandbox) Wait() (*Result, error) {
	<-s.done
	return s.result, s.err
}

// Kill ends the sandbox with everything in it; Wait then reports the outcome
// "cancelled". It may be called at any time and more than once.
func (s *Sandbox) Kill() { s.current().cancel(0) }

// Signal sends a signal to the job's first process. Before the job runs, and
// after its end, it is an error that wraps os.ErrProcessDone.
func (s *Sandbox) Signal(sig unix.Signal) error { return s.current().signal(sig) }

// Freeze stops all processes of the job where they stand, or with false lets
// them go on. Time limits run on. It needs a control group, and is an error
// without one; before the job runs, and after its end, it is an error that wraps
// os.ErrProcessDone. See cgroup.freeze in the kernel's cgroup-v2.rst.
func (s *Sandbox) Freeze(frozen bool) error { return s.current().freeze(frozen) }

func (s *Sandbox) current() *supervisor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sup
}
