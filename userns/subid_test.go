package userns

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSubIDs(t *testing.T) {
	const text = "# made by useradd\n" +
		"alice:100000:65536\n" +
		"\n" +
		"  # indented\n" +
		" \t\n" +
		"1000:165536:1\n" +
		"svc-x.y@example.org:4294967294:1\n" +
		"alice:0:10"
	got, err := ParseSubIDs("/etc/subuid", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []SubIDEntry{
		{"alice", Range{100000, 65536}, 2},
		{"1000", Range{165536, 1}, 6},
		{"svc-x.y@example.org", Range{4294967294, 1}, 7},
		{"alice", Range{0, 10}, 8},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseSubIDsRefuses(t *testing.T) {
	for line, why := range map[string]string{
		"alice":                     "not three fields separated by colons",
		"alice:100000":              "not three fields separated by colons",
		"alice:100000:65536:":       "not three fields separated by colons",
		":100000:65536":             "no owner",
		" alice:100000:65536":       "the owner contains white space or NUL",
		"ali\x00ce:100000:65536":    "the owner contains white space or NUL",
		"alice::65536":              "the start is missing",
		"alice:100000:":             "the count is missing",
		"alice:100000:0":            "the count is 0",
		"alice:100000:65536 # mine": "the count is not a plain decimal number",
		"alice:100000:65536\r":      "the count is not a plain decimal number",
		"alice:0100:65536":          "the start is not a plain decimal number",
		"alice:0x186a0:65536":       "the start is not a plain decimal number",
		"alice:+100000:65536":       "the start is not a plain decimal number",
		"alice:-1:65536":            "the start is not a plain decimal number",
		"alice:1_000:65536":         "the start is not a plain decimal number",
		"alice:4294967296:1":        "the start does not fit in 32 bits",
		"alice:1:4294967296":        "the count does not fit in 32 bits",
		"alice:4294967295:1":        "the range goes past the last id 4294967294",
		"alice:100000:4294967295":   "the range goes past the last id 4294967294",
	} {
		_, err := ParseSubIDs("/etc/subgid", []byte("bob:1:1\n\n"+line+"\ncarol:2:1\n"))
		p := theProblem(t, err, RangeMalformed, fmt.Sprintf("/etc/subgid:3: %q: %s", line, why))
		if want := `write line 3 of /etc/subgid as "user:start:count", such as "alice:100000:65536", or delete it`; p.Fix != want {
			t.Errorf("fix is %q, want %q", p.Fix, want)
		}
	}
}

func TestParseSubIDsClipsLongLines(t *testing.T) {
	_, err := ParseSubIDs("f", []byte(strings.Repeat("ä", 1000)))
	wantProblem(t, err, RangeMalformed, `f:1: "`+strings.Repeat("ä", 60)+`...": not three fields separated by colons`)
	_, err = ParseSubIDs("f", []byte("a"+strings.Repeat("ä", 1000)))
	wantProblem(t, err, RangeMalformed, `f:1: "a`+strings.Repeat("ä", 59)+`...": not three fields separated by colons`)
}

func TestOverlapsIn(t *testing.T) {
	parse := func(text string) []SubIDEntry {
		e, err := ParseSubIDs("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if err := OverlapsIn("f", parse("a:200:100\nb:100:100\nc:300:1\n")); err != nil {
		t.Error(err)
	}
	for text, cause := range map[string]string{
		"a:100:100\nb:199:1\n":           `f:2: the range 199-199 of "b" overlaps 100-199 of "a" on line 1`,
		"b:199:1\na:100:100\n":           `f:2: the range 100-199 of "a" overlaps 199-199 of "b" on line 1`,
		"a:1:1\na:1:1\n":                 `f:2: the range 1-1 of "a" overlaps 1-1 of "a" on line 1`,
		"a:100:1000\nb:200:1\nc:900:5\n": `f:2: the range 200-200 of "b" overlaps 100-1099 of "a" on line 1`,
		"a:100:10\nb:1:500\nc:400:5\n":   `f:2: the range 1-500 of "b" overlaps 100-109 of "a" on line 1`,
	} {
		wantProblem(t, OverlapsIn("f", parse(text)), RangeOverlap, cause)
	}
}

// The parser never panics; what it accepts is within bounds and reads back.
func FuzzSubIDs(f *testing.F) {
	for _, s := range []string{
		"", "\n", "#", "alice:100000:65536\n", "1000:100000:65536\nalice:165536:1\n# x\n\n", "a:b:c", "::",
		"alice:4294967294:1", "alice:4294967295:4294967295", "a:01:1", "a\x00:1:1", "0: alice 100000 65536\n",
		strings.Repeat("x:1:1\n", 50),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := ParseSubIDs("fuzz", text)
		if err != nil {
			if len(entries) != 0 {
				t.Errorf("both %d entries and %v", len(entries), err)
			}
			return
		}
		var again strings.Builder
		line := 0
		for _, e := range entries {
			if e.Owner == "" || e.Range.Count == 0 || e.Range.last() > maxID || e.Line <= line {
				t.Fatalf("accepted %+v after line %d", e, line)
			}
			line = e.Line
			fmt.Fprintf(&again, "%s:%d:%d\n", e.Owner, e.Range.Start, e.Range.Count)
		}
		back, err := ParseSubIDs("again", []byte(again.String()))
		if err != nil || len(back) != len(entries) {
			t.Fatalf("%q read back gives %d entries, %v", again.String(), len(back), err)
		}
		for i := range back {
			if back[i].Owner != entries[i].Owner || back[i].Range != entries[i].Range {
				t.Errorf("%+v read back is %+v", entries[i], back[i])
			}
		}
		overlapping := OverlapsIn("fuzz", entries) != nil
		if len(entries) < 200 && overlapping != anyPairOverlaps(entries) {
			t.Errorf("OverlapsIn is %v for %q", overlapping, again.String())
		}
		_, _ = parseGetsubids("fuzz", string(text)) // must not panic
	})
}

func anyPairOverlaps(entries []SubIDEntry) bool {
	for i, a := range entries {
		for _, b := range entries[:i] {
			if a.Range.overlaps(b.Range) {
				return true
			}
		}
	}
	return false
}
