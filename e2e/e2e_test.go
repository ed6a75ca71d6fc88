package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// binaryVariable names the brig that is tested; without it one is built.
const binaryVariable = "BRIG_BIN"

// brigDir is the directory that holds the brig under test.
var brigDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, cleanup, err := findBrig()
		if err != nil {
			fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
			return 1
		}
		defer cleanup()
		brigDir = dir
		return m.Run()
	}())
}

// findBrig gives the directory of the brig named by binaryVariable, or builds
// one the way the Makefile does.
func findBrig() (dir string, cleanup func(), err error) {
	if path := os.Getenv(binaryVariable); path != "" {
		path, err = filepath.Abs(path)
		if err != nil {
			return "", nil, err
		}
		if filepath.Base(path) != "brig" {
			return "", nil, fmt.Errorf("%s=%s: the program must be called brig", binaryVariable, path)
		}
		if _, err := exec.LookPath(path); err != nil {
			return "", nil, fmt.Errorf("%s: %w", binaryVariable, err)
		}
		return filepath.Dir(path), func() {}, nil
	}
	dir, err = os.MkdirTemp("", "brig-test-e2e-")
	if err != nil {
		return "", nil, err
	}
	build := exec.Command("go", "build", "-trimpath", "-o", dir, "../cmd/brig", "../cmd/brig-image")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, fmt.Errorf("build brig: %w\n%s", err, out)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// TestScripts runs testdata/script/*.txtar against the built brig. No script
// may leave anything behind.
func TestScripts(t *testing.T) {
	sandboxtest.Leaks(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		Setup:               setup,
		Condition:           condition,
		Cmds:                commands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// condition lets a script write [userns] for each feature that
// sandboxtest.Has knows. A script that cannot do without a feature says need.
func condition(feature string) (bool, error) {
	err := sandboxtest.Has(feature)
	if err != nil && !isMissing(err) {
		return false, err
	}
	return err == nil, nil
}
