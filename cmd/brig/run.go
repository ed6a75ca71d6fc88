package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

const runLong = `Run one untrusted command in a fresh, rootless sandbox.

The policy says what the command may use; flags change single values of it, with
the names that docker and podman give them. Without --policy the command finds
the current directory at /work, copy-on-write: it may change everything, and the
files on the host stay as they are. There is no network.

The exit code is the command's own; 128+n when signal n ended it (137 also for a
memory limit), 124 for a time limit, 153 for the output limit, 125 when brig
failed or refused, 126 when the command cannot be executed, 127 when there is no
such command. --result is authoritative where codes are ambiguous.

With --image the root file system is an image, in layers that the command may
change as it likes: nothing of that lasts. An image that brig does not have is
pulled first, unless --pull says otherwise. The image says which command, user,
variables and directory; arguments take the place of its command, and -e, -w and
-u go before what it says. Such runs are under the policy "image" unless another
one is named.

With --keep what the command changes in an image's root, and in directories given
copy-on-write, stays as a container when it has ended, also when brig is killed:
see brig start, brig ps, brig commit and brig rm. All else is gone as ever.

With --review brig shows on the terminal what the command changed in directories
given copy-on-write, and asks whether to apply it to the host's, to choose, to
discard or to keep it. Until then it is in memory; where nobody answers, because
the terminal is closed or brig is killed, it is kept as a container.

Asked to end (SIGTERM, SIGINT), brig ends the command and everything with it at
once, unless the image or --stop-signal names a signal that asks it first.

Standard input is passed on unless it is a terminal; -i passes that on as well,
and -t gives the command a terminal of its own.`

const runExample = `  brig run -- echo hello
  brig run --memory 64MiB --wall-time 10s -- ./configure
  brig run --policy judge --result r.json -- ./a.out < in > out
  brig run -it -- bash
  brig run -v "$HOME/data:/data:ro" --network host -- python3 fetch.py
  brig run --image debian:12 -- cat /etc/debian_version
  brig run --keep --name fix -- sed -i s/old/new/ config
  brig run --review -- sed -i s/colour/color/ README
  brig run --plan -- make test`

// errNoCommand is a run of nothing. An image may name its command itself.
var errNoCommand = errors.New("no command to run\n  fix: name one: brig run -- COMMAND [ARG...]")

func newRunCommand() *cobra.Command { return runCommand(&runFlags{}) }

func runCommand(f *runFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "run [flags] [--] [COMMAND [ARG...]]",
		Short:   "Run a command in a fresh sandbox",
		Long:    runLong,
		Example: runExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd, f, args)
		},
	}
	f.register(cmd)
	return cmd
}

// run is `brig run`. What the job printed and how it ended go their own ways;
// its error is an exit code with nothing left to print, or brig's own failure.
func run(cmd *cobra.Command, f *runFlags, args []string) error {
	child := takeAhead()
	err := enoughFiles()
	if err != nil {
		child.Discard()
		return err
	}
	if len(args) == 0 && !f.image && !f.flags.Changed("policy") {
		child.Discard()
		return errNoCommand
	}
	if f.image && !f.flags.Changed("policy") {
		f.policyName = imagePolicy
	}
	p, err := f.policy()
	if err != nil {
		child.Discard()
		return err
	}
	spec := sandbox.NewSpec(p, args...)
	spec.Child = child
	spec.Dir = f.dir
	spec.Hostname = f.hostname
	spec.Filter = configs.Filter
	spec.StopAt = f.stopAt
	spec.CgroupManager = f.cgroups
	if spec.Stop, err = f.stop(); err != nil {
		child.Discard()
		return err
	}
	found, release, err := f.useImage(spec)
	child = spec.Child // none after a pull
	if err != nil {
		child.Discard()
		return err
	}
	defer release()
	if f.flags.Changed("stop-timeout") && spec.Stop.Signal == 0 {
		spec.Stop.Signal = unix.SIGTERM // nor does an image say another
	}
	if err = f.checkReview(); err == nil {
		err = f.checkKeep(spec)
	}
	if err != nil {
		child.Discard()
		return err
	}
	if f.plan != "" {
		child.Discard()
		return printPlan(cmd.OutOrStdout(), spec, f.plan)
	}
	return f.reviewChanges(f.carryOut(cmd, spec, func() error {
		switch {
		case f.review:
			return f.holdLayers(spec, found)
		case f.keep:
			return f.keepLayers(spec, found)
		}
		return nil
	}))
}

// carryOut runs a spec and reports how it ended. Ready is called when all of the
// caller's files are open.
func (f *runFlags) carryOut(cmd *cobra.Command, spec *sandbox.Spec, ready func() error) error {
	spec.Started = f.watch(cmd.ErrOrStderr())
	spec.Resolved = f.tell(cmd.ErrOrStderr())
	reports, err := f.openReports()
	if err != nil {
		spec.Child.Discard()
		return err
	}
	defer reports.close()
	streams, err := f.openStreams(spec)
	if err == nil {
		defer streams.close()
		err = ready()
	}
	if err != nil {
		spec.Child.Discard()
		return errors.Join(err, reports.write(nil, err))
	}
	f.announce(spec, cmd.ErrOrStderr())
	ctx, stop := cancelOnSignal()
	defer stop()
	result, err := sandbox.Run(ctx, spec)
	if kerr := f.keepEnd(result, err); err == nil {
		err = kerr
	}
	if werr := reports.write(result, nil); werr != nil && err == nil {
		err = werr
	}
	if err == nil && streams.err() != nil {
		err = streams.err()
	}
	return f.verdict(result, err)
}

// leastFiles is how many open files a run may need: brig's own, init's, which
// have high numbers, and two for each directory that is given.
const leastFiles = 128

// enoughFiles refuses a limit with which the runtime itself could not go on.
func enoughFiles() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Max >= leastFiles {
		return nil //nolint:nilerr // what cannot be known is left to fail by itself
	}
	return fmt.Errorf("at most %d files may be open here, and brig needs %d\n  fix: raise the hard limit: ulimit -Hn %d, as root or in limits.conf(5)", l.Max, leastFiles, 1024)
}

// ahead is a child that was made before the command line was looked at.
var ahead *launch.Child

// cloneAhead begins to make the sandbox's first process while the command line
// and the policy are being read: both take about as long. Root's is cloned with
// other ids, which have to be set aside first; where the caller makes control
// groups itself the process is cloned into one; a plan that is only printed and
// a job on the caller's network need none, or another one.
func cloneAhead(args []string) {
	if os.Getuid() == 0 || probe.DividesOwnGroup() {
		return
	}
	for _, a := range args {
		if a == "--" {
			break
		}
		if strings.HasPrefix(a, "--plan") || strings.HasPrefix(a, "--network") || a == "--help" || a == "-h" {
			return
		}
	}
	ahead = launch.Clone(launch.DefaultNamespaces(), uint32(os.Getuid()), uint32(os.Getgid()))
}

// takeAhead hands over what cloneAhead has made.
func takeAhead() *launch.Child {
	c := ahead
	ahead = nil
	return c
}

// verdict says on stderr what the user would otherwise not understand, and
// gives the exit code.
func (f *runFlags) verdict(result *sandbox.Result, err error) error {
	code := exitFailure
	if result != nil {
		code = result.ExitCode()
	}
	if err != nil {
		if code < exitFailure || code > 127 {
			code = exitFailure // the job ended, but brig could not do its part
		}
		return &exitError{code: code, err: err}
	}
	switch result.Outcome {
	case sandbox.OutcomeOK:
		return nil
	case sandbox.OutcomeExit, sandbox.OutcomeSignal:
		return &exitError{code: code}
	default:
		if f.level < levelWarn {
			return &exitError{code: code}
		}
		return &exitError{code: code, err: errors.New(result.Message)}
	}
}

// cancelOnSignal returns a context that ends when brig is asked to end. Further
// signals change nothing: timeout(1) sends two, and the result is still to be
// written.
func cancelOnSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 1)
	heed := func() {
		signal.Notify(ch, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT)
		if !signal.Ignored(unix.SIGHUP) { // as nohup(1) has it
			signal.Notify(ch, unix.SIGHUP)
		}
		// Ctrl-Z would stop brig alone, and the job would run on without the
		// limits that brig holds.
		signal.Ignore(unix.SIGTSTP)
	}
	watch := func() {
		for s := range ch {
			if sig, ok := s.(unix.Signal); ok {
				cancel(&sandbox.Cancelled{Signal: sig})
			}
		}
	}
	// One that brig was started to ignore, as a shell's script has it for
	// whatever it puts into the background, would be lost until it is heeded.
	if signal.Ignored(unix.SIGINT) || signal.Ignored(unix.SIGQUIT) || signal.Ignored(unix.SIGTERM) {
		heed()
		go watch()
		return ctx, func() { cancel(nil) }
	}
	// Else not before the start: it costs threads, and a job that ends at once is
	// gone by then. Until it is done a signal ends brig as it ends any program,
	// and with it the sandbox.
	late := time.AfterFunc(signalDelay, func() {
		heed()
		watch()
	})
	return ctx, func() { late.Stop(); cancel(nil) }
}

// signalDelay is how long brig leaves signals as they are: longer than a job
// that ends at once takes on a slow host, shorter than anybody can type.
const signalDelay = 20 * time.Millisecond

// tell says on stderr what the log level asks for: the plan's notes, or the
// whole plan.
func (f *runFlags) tell(w io.Writer) func(*sandbox.Resolution) {
	switch f.level {
	case levelInfo:
		return func(res *sandbox.Resolution) {
			for _, n := range res.Plan.Notes {
				fmt.Fprintf(w, "brig: note: %s\n", n)
			}
		}
	case levelDebug:
		return func(res *sandbox.Resolution) { fmt.Fprintf(w, "%s", res.Plan) }
	}
	return nil
}

func printPlan(w io.Writer, spec *sandbox.Spec, form string) error {
	res, err := sandbox.Prepare(spec)
	if err != nil {
		return err
	}
	if form == "json" {
		b, err := planJSON(res)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", b)
		return err
	}
	_, err = io.WriteString(w, res.Plan.String())
	return err
}
