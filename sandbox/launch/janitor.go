package launch

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Janitor is a process that removes a directory when it is told to, or when
// brig is gone. It lives in a user namespace with the sandbox's ids, since files
// that belong to them, and directories that overlayfs made for nobody, cannot
// be removed from outside.
type Janitor struct{ box *Sandbox }

// JanitorConfig says what to remove and with whose ids.
type JanitorConfig struct {
	IDs plan.IDs
	// Paths are removed with all that is in them. Absolute.
	Paths []string
	// WriteMaps is Config.WriteMaps.
	WriteMaps func(pid int) error
}

// removers are the places of rm(1), which descends without following links.
var removers = []string{"/usr/bin/rm", "/bin/rm"}

// StartJanitor starts a janitor. Close makes it do its work.
func StartJanitor(cfg *JanitorConfig) (*Janitor, error) {
	p := &plan.Plan{IDs: cfg.IDs, Namespaces: []plan.Namespace{plan.User}, Ops: []plan.Op{{Kind: plan.MapIDs}}}
	c := Clone(p.Namespaces, cfg.IDs.CloneUID, cfg.IDs.CloneGID)
	program, err := janitorProgram(p, cfg.Paths)
	box, err := c.start(p, func() error { return c.hand(program) }, err)
	if err != nil {
		return nil, err
	}
	if cfg.IDs.By != plan.ByInit {
		if err = cfg.WriteMaps(box.pid); err == nil {
			err = box.tell('M', nil)
		}
		if err != nil {
			_, _ = box.Close()
			return nil, err
		}
	}
	return &Janitor{box}, nil
}

// janitorProgram waits for the end of the channel, whatever brings it about,
// and becomes rm.
func janitorProgram(p *plan.Plan, paths []string) (block, error) {
	l := &lowering{program: newProgram(), plan: p, readBack: map[int]uint64{}}
	// A session of its own: what a terminal sends to brig's group, such as the
	// interrupt that ends brig, is not meant for the janitor.
	l.call(unix.SYS_SETSID)
	l.call(unix.SYS_CLOSE_RANGE, n(programFD), n(1<<32-1), n(0))
	l.mapIDs()
	// rm needs them to enter and to empty directories that the job has closed,
	// and that of overlayfs, which nobody may enter. It starts with what is
	// ambient alone, unless its user is 0.
	caps := [...]uint64{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER}
	var set uint64
	for _, c := range caps {
		set |= 1 << c
	}
	l.capset(set, set)
	for _, c := range caps {
		l.call(unix.SYS_PRCTL, n(unix.PR_CAP_AMBIENT), n(unix.PR_CAP_AMBIENT_RAISE), n(c), n(0), n(0))
	}
	buf := l.alloc(8)
	l.call(unix.SYS_READ, fd(channelFD), n(buf), n(1))
	l.op(kindExec, 0, 0, nil, n(l.pointers(removers)), n(l.pointers(append([]string{"rm", "-rf", "--"}, paths...))), n(l.words(0)))
	return l.block()
}

// Close makes the janitor do its work and waits for it. It returns an error
// when the janitor could not be waited for, or said that it failed.
func (j *Janitor) Close() error {
	// The end of the channel is the sign; end closes the descriptor.
	_ = unix.Shutdown(j.box.channel, unix.SHUT_RDWR)
	status, _, err := j.box.end()
	unix.Close(j.box.pidfd)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("the janitor failed with status %d", status)
	}
	return nil
}
