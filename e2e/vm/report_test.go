package main

import (
	"strings"
	"testing"
)

const sample = "\x16=== RUN   TestScripts\n" +
	"\x16=== RUN   TestScripts/one\n" +
	"\x16=== PAUSE TestScripts/one\n" +
	"\x16=== RUN   TestScripts/two\n" +
	"\x16=== NAME  TestScripts/one\n" +
	"--- PASS: a line of the test's own\n" +
	"unfinished\x16=== NAME  TestScripts/two\n" +
	"wrong\n" +
	"\x16    --- PASS: TestScripts/one (0.01s)\n" +
	"\x16    --- FAIL: TestScripts/two (1.00s)\n" +
	"\x16=== NAME  \n" +
	"\x16--- FAIL: TestScripts (1.01s)\n" +
	"\x16=== RUN   TestHangs\n" +
	"still at it\n"

func TestReadReport(t *testing.T) {
	want := []struct{ name, status, output string }{
		{"TestScripts", "FAIL", ""},
		{"TestScripts/one", "PASS", "--- PASS: a line of the test's own\nunfinished\n"},
		{"TestScripts/two", "FAIL", "wrong\n"},
		{"TestHangs", "", "still at it\n"},
	}
	got := readReport([]byte(sample))
	if len(got) != len(want) {
		t.Fatalf("%d tests, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.name != w.name || g.status != w.status || g.output.String() != w.output {
			t.Errorf("test %d is %q, %q, %q; want %q", i, g.name, g.status, g.output.String(), w)
		}
	}
	if got := readReport([]byte(strings.Repeat("x", 1000))); len(got) != 0 {
		t.Errorf("output without tests gave %d of them", len(got))
	}
}
