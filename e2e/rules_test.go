package e2e

import (
	"testing"
)

// TestRulesBite breaks each rule of the architecture test once, and shows next
// to it what is allowed.
func TestRulesBite(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rule  func(sourceFile) []string
		text  string
		found int
	}{
		{"exported function", undocumented, "func Run() {}", 1},
		{"exported type", undocumented, "type Plan struct{}", 1},
		{"exported method", undocumented, "// T is.\ntype T struct{}\nfunc (t *T) Do() {}", 1},
		{"method of a private type", undocumented, "type t struct{}\nfunc (t) Do() {}", 0},
		{"exported constant", undocumented, "const Max = 1", 1},
		{"documented group", undocumented, "// Limits.\nconst (\nMax = 1\nMin = 0\n)", 0},
		{"mount", systemCallViolations, `func f() { unix.Mount("", "", "", 0, "") }`, 1},
		{"raw setns", systemCallViolations, `func f() { unix.RawSyscall(unix.SYS_SETNS, 0, 0, 0) }`, 1},
		{"the number as data", systemCallViolations, `func f() { p.Call(unix.SYS_SETNS, 0) }`, 0},
		{"reading a file", purityViolations, `func f() { os.ReadFile("x") }`, 1},
		{"a constant", purityViolations, `var x = unix.MS_BIND`, 0},
		{"init", loadCost, `func init() {}`, 1},
		{"a pattern at load", loadCost, `var p = regexp.MustCompile("x")`, 1},
		{"a pattern on demand", loadCost, `var p = sync.OnceValue(func() any { return regexp.MustCompile("x") })`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parseSource("x/x.go", "package x\n"+tt.text+"\n")
			if err != nil {
				t.Fatal(err)
			}
			if found := tt.rule(f); len(found) != tt.found {
				t.Errorf("found %d violations, want %d: %v", len(found), tt.found, found)
			}
		})
	}
}
