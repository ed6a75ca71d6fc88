// Brig-filterc compiles system call filters with libseccomp, for brig, which does
// not link it. It is built static with cgo:
//
//	CGO_ENABLED=1 go build -ldflags '-linkmode external -extldflags -static' ./cmd/brig-filterc
//
// Without arguments it reads one request as JSON on standard input and writes the
// compiled program to standard output. With -shipped DIR, when brig is built, it
// compiles the filters of all policies in the folder above DIR into DIR.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/policy/seccomp/libseccomp"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		fmt.Fprintf(os.Stderr, "brig-filterc: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("brig-filterc", flag.ContinueOnError)
	shipped := flags.String("shipped", "", "compile the filters of the shipped policies into this `directory`")
	policies := flags.String("policies", "", "with -shipped, the `directory` of the policies (default: the one above)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *shipped != "" {
		if *policies == "" {
			*policies = filepath.Join(*shipped, "..")
		}
		return compileShipped(*policies, *shipped)
	}
	request, err := seccomp.ReadRequest(in)
	if err != nil {
		return err
	}
	program, err := compile(request)
	if err != nil {
		return err
	}
	if _, err := out.Write(program); err != nil {
		return fmt.Errorf("writing the program: %w", err)
	}
	return nil
}

// compile makes the file form of the program for one request.
func compile(r seccomp.Request) ([]byte, error) {
	profile, err := seccomp.Resolve(r.Settings, r.Options, r.Arch)
	if err != nil {
		return nil, err
	}
	compiled, err := libseccomp.Compile(profile)
	if err != nil {
		return nil, err
	}
	return compiled.MarshalBinary()
}
