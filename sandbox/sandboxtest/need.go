// Package sandboxtest is what tests of brig share: Need, which makes a skip
// visible and revocable, and Leaks, which shows that nothing was left behind.
//
// It is for tests only. Features are found by trying them, never by comparing
// version numbers, so that a test runs wherever it can run; each is tried once
// in a test binary.
package sandboxtest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Environment variables that steer Need.
const (
	// RequireVariable names features, separated by commas, whose absence is a
	// failure and not a skip. A machine that is known to have them sets it.
	RequireVariable = "BRIG_TEST_REQUIRE"
	// SkipsVariable names a file to which every skip is appended, one line of
	// package, test, feature and reason separated by tabs.
	SkipsVariable = "BRIG_TEST_SKIPS"
)

// ErrUnknownFeature is returned by Has for a feature that nobody can have.
var ErrUnknownFeature = errors.New("unknown feature")

// Need skips the test unless the host has every feature, with the reason of
// the first that is missing. Where RequireVariable names that feature the test
// fails instead. Features lists the names.
func Need(t testing.TB, features ...string) {
	t.Helper()
	for _, feature := range features {
		err := Has(feature)
		if err == nil {
			continue
		}
		if errors.Is(err, ErrUnknownFeature) {
			t.Fatalf("needs %s: %v", feature, err)
		}
		Lacks(t, feature, err)
	}
}

// Lacks skips the test for something that Has does not know: a test that has
// found out by itself what is missing says so here. Like Need it fails the test
// where RequireVariable names what is missing, and the skip is listed.
func Lacks(t testing.TB, what string, reason error) {
	t.Helper()
	if Required(what) {
		t.Fatalf("needs %s: %v", what, reason)
	}
	RecordSkip(t.Name(), what, reason)
	t.Skipf("needs %s: %v", what, reason)
}

// Has reports whether the host has a feature: nil, or the reason why not.
func Has(feature string) error {
	try, ok := features()[feature]
	if !ok {
		return fmt.Errorf("%w %q (known: %s)", ErrUnknownFeature, feature, strings.Join(Features(), ", "))
	}
	return try()
}

// Features lists the features that can be asked for.
func Features() []string {
	return slices.Sorted(maps.Keys(features()))
}

// Required reports whether RequireVariable names the feature.
func Required(feature string) bool {
	for name := range strings.SplitSeq(os.Getenv(RequireVariable), ",") {
		if strings.TrimSpace(name) == feature {
			return true
		}
	}
	return false
}

var recording sync.Mutex

// RecordSkip appends a skip to the file that SkipsVariable names. Need calls
// it; harnesses with their own way to skip call it themselves. A file that
// cannot be written fails loudly, since a lost skip looks like a passed test.
func RecordSkip(test, feature string, reason error) {
	path := os.Getenv(SkipsVariable)
	if path == "" {
		return
	}
	recording.Lock()
	defer recording.Unlock()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", SkipsVariable, err))
	}
	defer f.Close()
	line := fmt.Sprintf("%s\t%s\t%s\t%s\n", strings.TrimSuffix(filepath.Base(os.Args[0]), ".test"),
		test, feature, strings.ReplaceAll(reason.Error(), "\n", " "))
	if _, err := f.WriteString(line); err != nil {
		panic(fmt.Sprintf("%s: %v", SkipsVariable, err))
	}
}
