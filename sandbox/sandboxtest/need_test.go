package sandboxtest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorder stands in for a test that Need ends.
type recorder struct {
	testing.TB
	skipped, failed string
}

type ended struct{}

func (r *recorder) Helper()      {}
func (r *recorder) Name() string { return "TestRecorded" }
func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = strings.TrimSpace(format)
	panic(ended{})
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = strings.TrimSpace(format)
	panic(ended{})
}

func need(features ...string) (r recorder) {
	defer func() {
		if e := recover(); e != nil {
			if _, ok := e.(ended); !ok {
				panic(e)
			}
		}
	}()
	Need(&r, features...)
	return r
}

// impossible is the feature that this process certainly lacks.
func impossible() (has, lacks string) {
	if os.Geteuid() == 0 {
		return "root", "unprivileged"
	}
	return "unprivileged", "root"
}

func TestNeed(t *testing.T) {
	has, lacks := impossible()
	skips := filepath.Join(t.TempDir(), "skips")
	t.Setenv(SkipsVariable, skips)
	t.Setenv(RequireVariable, "")

	if r := need(has); r.skipped != "" || r.failed != "" {
		t.Errorf("Need(%s): skipped %q, failed %q", has, r.skipped, r.failed)
	}
	if r := need(has, lacks); r.skipped == "" || r.failed != "" {
		t.Errorf("Need(%s): skipped %q, failed %q; want a skip", lacks, r.skipped, r.failed)
	}
	line, err := os.ReadFile(skips)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\tTestRecorded\t" + lacks + "\t"; !strings.Contains(string(line), want) {
		t.Errorf("recorded %q, want %q in it", line, want)
	}

	t.Setenv(RequireVariable, "something, "+lacks)
	if r := need(lacks); r.failed == "" || r.skipped != "" {
		t.Errorf("Need(%s) when required: skipped %q, failed %q; want a failure", lacks, r.skipped, r.failed)
	}
}

func TestLacks(t *testing.T) {
	t.Setenv(SkipsVariable, filepath.Join(t.TempDir(), "skips"))
	lack := func() (r recorder) {
		defer func() { _ = recover() }()
		Lacks(&r, "luck", errors.New("no clover"))
		return r
	}
	t.Setenv(RequireVariable, "")
	if r := lack(); r.skipped == "" || r.failed != "" {
		t.Errorf("skipped %q, failed %q; want a skip", r.skipped, r.failed)
	}
	t.Setenv(RequireVariable, "luck")
	if r := lack(); r.failed == "" || r.skipped != "" {
		t.Errorf("when required: skipped %q, failed %q; want a failure", r.skipped, r.failed)
	}
}

func TestNeedRefusesUnknownFeature(t *testing.T) {
	t.Setenv(RequireVariable, "")
	if err := Has("levitation"); !errors.Is(err, ErrUnknownFeature) {
		t.Errorf("Has(levitation) = %v, want ErrUnknownFeature", err)
	}
	if r := need("levitation"); r.failed == "" {
		t.Error("a feature that does not exist must fail the test, not skip it")
	}
}

// TestFeatures shows what this machine has, so that a log explains its skips.
func TestFeatures(t *testing.T) {
	for _, feature := range Features() {
		if err := Has(feature); err != nil {
			t.Logf("%-22s no: %v", feature, err)
		} else {
			t.Logf("%-22s yes", feature)
		}
	}
}
