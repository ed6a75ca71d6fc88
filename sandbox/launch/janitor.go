package launch

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Janitor is a process that removes a directory when it is told to, or when
// brig is gone. It lives in a user namespace with the sandbox's ids, since files
// that belong to them, and directories that overlayfs made for nobody, cannot
// be removed from outside.
type Janitor struct{ box Sandbox }

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
	image, err := initImage()
	if err != nil {
		return nil, err
	}
	defer unix.Close(image)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the null device: %w", err)
	}
	defer null.Close()
	p := &plan.Plan{IDs: cfg.IDs, Namespaces: []plan.Namespace{plan.User}, Ops: []plan.Op{{Kind: plan.MapIDs}}}
	c := &Config{Plan: p, Stdio: [3]uintptr{null.Fd(), null.Fd(), null.Fd()}, WriteMaps: cfg.WriteMaps}
	j := &Janitor{Sandbox{plan: p, pidfd: -1, channel: -1}}
	block, err := janitorProgram(c, cfg.Paths)
	if err != nil {
		return nil, err
	}
	if err := j.box.start(c, image, func() error { return writeAll(j.box.program, block) }); err != nil {
		return nil, err
	}
	return j, nil
}

// janitorProgram waits for the end of the channel, whatever brings it about,
// and becomes rm.
func janitorProgram(c *Config, paths []string) ([]byte, error) {
	l := &lowering{program: newProgram(), cfg: c, plan: c.Plan, readBack: map[int]uint64{}}
	// A session of its own: what a terminal sends to brig's group, such as the
	// interrupt that ends brig, is not meant for the janitor.
	l.call(unix.SYS_SETSID)
	l.call(unix.SYS_CLOSE_RANGE, n(programFD), n(1<<32-1), n(0))
	l.mapIDs(&c.Plan.Ops[0])
	buf := l.alloc(8)
	l.call(unix.SYS_READ, fd(channelFD), n(buf), n(1))
	l.op(kindExec, 0, 0, nil, n(l.pointers(removers)), n(l.pointers(append([]string{"rm", "-rf", "--"}, paths...))), n(l.words(0)))
	return l.block()
}

// Close makes the janitor do its work and waits for it. It returns an error
// when the janitor could not be waited for, or said that it failed.
func (j *Janitor) Close() error {
	unix.Close(j.box.channel)
	var status unix.WaitStatus
	var err error
	for {
		_, err = unix.Wait4(j.box.pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	unix.Close(j.box.pidfd)
	unix.Close(j.box.program)
	if j.box.release != nil {
		close(j.box.release)
	}
	if err != nil {
		return fmt.Errorf("waiting for the janitor: %w", err)
	}
	if status != 0 {
		return fmt.Errorf("the janitor failed with status %d", status)
	}
	return nil
}
