package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
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
	runScripts(t, filepath.Join("testdata", "script"))
}

// runScripts runs the scripts of a directory, or single ones.
func runScripts(t *testing.T, dir string, files ...string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Files:               files,
		Setup:               setup,
		Condition:           condition,
		Cmds:                commands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// condition lets a script write [userns] for each feature that
// sandboxtest.Has knows, [slow], and [cgroupv2] where brig has a control group
// for its jobs, wherever it takes it from. A script that cannot do without a feature says need.
func condition(feature string) (bool, error) {
	switch feature {
	case "slow":
		return slow() > 1, nil
	case "cgroupv2":
		return controlGroups(), nil
	}
	err := sandboxtest.Has(feature)
	if err != nil && !isMissing(err) {
		return false, err
	}
	return err == nil, nil
}

// controlGroups reports whether the kernel holds the memory of brig's jobs here,
// for which there must be a control group. Brig is asked, since it may get one
// from a service manager.
var controlGroups = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "brig-test-limits-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "r.json")
	cmd := exec.Command(filepath.Join(brigDir, "brig"), "run", "--policy", "strict", "--memory", "64MiB", "--result", file, "--", "true")
	if err := cmd.Run(); err != nil {
		return false
	}
	data, err := os.ReadFile(file)
	var result struct {
		Receipt []struct {
			Limit      string
			EnforcedBy string `json:"enforced_by"`
		}
	}
	if err != nil || json.Unmarshal(data, &result) != nil {
		return false
	}
	for _, line := range result.Receipt {
		if line.Limit == "memory" {
			return line.EnforcedBy == "kernel"
		}
	}
	return false
})
