//go:build machines

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// machineVariable names the scripts below testdata/machine that TestMachine is
// to run: a directory, or a file without its ending.
const machineVariable = "BRIG_TEST_MACHINE"

// TestMachine runs scripts that need a machine of a certain kind, or one that
// was changed for them, in the virtual machines of e2e/vm.
func TestMachine(t *testing.T) {
	name := os.Getenv(machineVariable)
	if name == "" {
		t.Fatalf("%s is not set; make vm-test runs this in the virtual machines", machineVariable)
	}
	sandboxtest.Leaks(t)
	path := filepath.Join("testdata", "machine", filepath.FromSlash(name))
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		runScripts(t, path)
		return
	}
	runScripts(t, "", path+".txtar")
}
