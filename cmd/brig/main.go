// Command brig runs untrusted jobs in fresh, rootless containers.
//
// It is built without cgo, and what it does before the first clone is on the
// path of every job: only the subcommand that was asked for is constructed,
// and nothing is computed when the program is loaded.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/launch"
)

// exitFailure is the exit code of everything that is brig's own failure or
// refusal, usage errors included. It is docker's and podman's.
const exitFailure = 125

func main() {
	growStack()
	if len(os.Args) > 1 && os.Args[1] == "run" {
		if ahead = launch.Early(); ahead == nil {
			cloneAhead(os.Args[2:])
		}
	}
	os.Exit(execute(os.Args[1:]))
}

// execute runs one command line and returns the exit code.
func execute(args []string) int {
	err, ok := runAlone(args)
	if !ok {
		root := newRootCommand(args)
		root.SetArgs(args)
		err = root.Execute()
	}
	if err == nil {
		return 0
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: exitFailure, err: err}
	}
	if exit.err != nil {
		// Whatever an error quotes, it cannot move the terminal's cursor: only
		// its own line feeds are passed on.
		lines := strings.Split(exit.err.Error(), "\n")
		for i := range lines {
			lines[i] = sandbox.SafeText(lines[i])
		}
		fmt.Fprintf(os.Stderr, "brig: %s\n", strings.Join(lines, "\n"))
	}
	return exit.code
}

// exitError ends brig with code. With a nil err nothing is printed: the
// command, or the job it ran, has said all there is to say.
type exitError struct {
	code int
	err  error
}

// Error is the message that would be printed.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap gives the cause.
func (e *exitError) Unwrap() error { return e.err }
