package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// TestWhole runs the demo but for the module's tests, which take a while: what
// it shows to people holds.
func TestWhole(t *testing.T) {
	sandboxtest.Need(t, "unprivileged", "userns", "overlay", "gcc", "g++", "python3")
	brig := os.Getenv("BRIG_BIN")
	if brig == "" {
		sandboxtest.Lacks(t, "BRIG_BIN", errors.New("it does not name the brig to run"))
	}
	sandboxtest.Leaks(t)
	var text strings.Builder
	d, err := newDemo(brig, t.TempDir(), &printer{w: &text})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"submissions", "tests", "hostile"} {
		if err := os.CopyFS(filepath.Join(d.dir, name), os.DirFS(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, section := range []func() error{d.judgeSubmissions, d.containHostile} {
		if err := section(); err != nil {
			t.Fatalf("%v\n%s", err, text.String())
		}
	}
	if d.unexpected > 0 {
		t.Errorf("%d jobs ended otherwise than they should have:\n%s", d.unexpected, text.String())
	}
	for _, want := range []string{"AC", "WA", "TLE", "MLE", "OLE", "RE", "CE"} {
		if !strings.Contains(text.String(), " "+want+" ") {
			t.Errorf("no submission got %s:\n%s", want, text.String())
		}
	}
}
