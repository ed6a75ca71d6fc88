package e2e

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brig-sandbox/brig/e2e/payload"
)

// payloadDir holds hostile programs that several scripts run.
const payloadDir = "testdata/payload"

// cmdPayload brings a hostile program into the working directory: C source is
// compiled, anything else is copied.
//
//	payload hog.c       # makes $WORK/hog
//	payload race.py     # makes $WORK/race.py
func cmdPayload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: payload file")
	}
	data, err := os.ReadFile(filepath.Join(payloadDir, args[0]))
	ts.Check(err)
	name, isC := strings.CutSuffix(args[0], ".c")
	target := filepath.Join(ts.Getenv("WORK"), name)
	if isC {
		compile(ts, data, target)
		return
	}
	ts.Check(os.WriteFile(target, data, 0o755))
}

// cmdCompile compiles a C program that stands in the script.
//
//	compile a.out sum.c
func cmdCompile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: compile program source.c")
	}
	compile(ts, []byte(ts.ReadFile(args[1])), ts.MkAbs(args[0]))
}

// compile takes the program where it was compiled beforehand. Elsewhere the
// script is skipped when there is no compiler.
func compile(ts *testscript.TestScript, source []byte, target string) {
	path, err := payload.Compiled(source)
	if err != nil {
		cmdNeed(ts, false, []string{"gcc"})
		ts.Check(payload.Compile(source, target))
		return
	}
	program, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(target, program, 0o755))
}
