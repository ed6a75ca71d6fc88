// Brig-image does the work of brig's commands for images and containers. brig checks the
// command line and becomes this program, so that what reading archives links
// costs no run anything.
//
// In a second role it is the program that unpacks, packs, measures and removes
// layers inside a sandbox, where it is given read-only:
//
//	brig-image sandboxed-unpack DIR LIMITS   the layer on standard input
//	brig-image sandboxed-pack OPTIONS DIR... the archive on standard output
//	brig-image sandboxed-size DIR...
//	brig-image sandboxed-remove DIR
//	brig-image sandboxed-changes             what to do on standard input
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/cmd/imagecmd"
	"github.com/brig-sandbox/brig/sandbox"
)

// Exit codes: brig's own failure, and what `system check` found.
const (
	exitFailure = 125
	exitFound   = 1
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleUnpack:
			os.Exit(sandboxedUnpack(os.Args[2:], os.Stdin, os.Stdout))
		case roleRemove:
			os.Exit(sandboxedRemove(os.Args[2:], os.Stdout))
		case roleChanges:
			os.Exit(sandboxedChanges(os.Stdin, os.Stdout))
		case rolePack:
			os.Exit(sandboxedPack(os.Args[2:], os.Stdout, os.Stderr))
		case roleSize:
			os.Exit(sandboxedSize(os.Args[2:], os.Stdout))
		}
	}
	os.Exit(execute(os.Args[1:]))
}

// errFound makes `system check` end with exitFound and without a message.
var errFound = errors.New("found")

func execute(args []string) int {
	ctx, stop := cancelOnSignal()
	defer stop()
	root := &cobra.Command{Use: "brig", SilenceUsage: true, SilenceErrors: true}
	root.CompletionOptions.DisableDefaultCmd = true
	for _, c := range imagecmd.Commands() {
		root.AddCommand(c.Build(dispatch))
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFound):
		return exitFound
	}
	code := exitFailure
	if c := (*sandbox.Cancelled)(nil); errors.As(context.Cause(ctx), &c) {
		code = 128 + int(c.Signal) // as a shell says it, and brig run
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = sandbox.SafeText(lines[i])
	}
	fmt.Fprintf(os.Stderr, "brig: %s\n", strings.Join(lines, "\n"))
	return code
}

// cancelOnSignal returns a context that ends when brig is asked to end: what was
// begun is removed then. A second signal ends brig at once, and leaves that to
// the next command.
func cancelOnSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		if sig, ok := (<-ch).(unix.Signal); ok {
			cancel(&sandbox.Cancelled{Signal: sig})
		}
		signal.Stop(ch)
	}()
	return ctx, func() { cancel(nil) }
}

// dispatch finds the work by the command's path.
func dispatch(cmd *cobra.Command, args []string) error {
	var run imagecmd.Run
	switch path := strings.TrimPrefix(cmd.CommandPath(), "brig "); path {
	case "pull":
		run = runPull
	case "push":
		run = runPush
	case "load":
		run = runLoad
	case "import":
		run = runImport
	case "save":
		run = runSave
	case "images":
		run = runImages
	case "tag":
		run = runTag
	case "rmi":
		run = runRmi
	case "history":
		run = runHistory
	case "inspect":
		run = runInspect
	case "ps":
		run = runPs
	case "rm":
		run = runRm
	case "commit":
		run = runCommit
	case "export":
		run = runExport
	case "prune":
		run = runPrune
	case "diff":
		run = runDiff
	case "apply":
		run = runApply
	case "discard":
		run = runDiscard
	case "review":
		run = runReview
	case "system df":
		run = runDF
	case "system unpack":
		run = runUnpack
	case "system check":
		run = runCheck
	default:
		return fmt.Errorf("no command %q", path)
	}
	return run(cmd, args)
}
