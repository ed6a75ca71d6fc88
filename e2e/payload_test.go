package e2e

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// payloadDir holds hostile programs that several scripts run.
const payloadDir = "testdata/payload"

// cmdPayload brings a hostile program into the working directory: C source is
// compiled, static so that it runs in any root file system, anything else is
// copied. The script is skipped where there is no compiler.
//
//	payload hog.c       # makes $WORK/hog
//	payload race.py     # makes $WORK/race.py
func cmdPayload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: payload file")
	}
	source, err := filepath.Abs(filepath.Join(payloadDir, args[0]))
	ts.Check(err)
	name, isC := strings.CutSuffix(args[0], ".c")
	target := filepath.Join(ts.Getenv("WORK"), name)
	if isC {
		cmdNeed(ts, false, []string{"gcc"})
		ts.Check(ts.Exec("gcc", "-O1", "-Wall", "-static", "-pthread", "-o", target, source))
		return
	}
	data, err := os.ReadFile(source)
	ts.Check(err)
	ts.Check(os.WriteFile(target, data, 0o755))
}
