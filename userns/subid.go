package userns

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxSubIDFile is the largest /etc/subuid or /etc/subgid that is read, in
// bytes: some 150,000 users.
const maxSubIDFile = 4 << 20

// SubIDEntry is one line of /etc/subuid or /etc/subgid, subuid(5).
type SubIDEntry struct {
	// Owner is a login name or a uid in decimal.
	Owner string
	Range Range
	// Line counts from 1.
	Line int
}

// ownedBy reports whether the entry is the user's; name may be "".
func (e SubIDEntry) ownedBy(name, uid string) bool {
	return e.Owner == uid || (name != "" && e.Owner == name)
}

// ParseSubIDs reads the text of /etc/subuid or /etc/subgid; file is used in
// errors only. Empty lines and lines that begin with # are skipped. Any other
// line that is not "owner:start:count" in decimal with at least one id and
// none past 2^32-2 is refused with a *Problem of Reason RangeMalformed: the
// shadow tools ignore such lines, so a typing error would silently take a
// range away.
func ParseSubIDs(file string, text []byte) ([]SubIDEntry, error) {
	entries := make([]SubIDEntry, 0, bytes.Count(text, []byte{'\n'})+1)
	for n := 1; len(text) > 0; n++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		if t := bytes.TrimLeft(line, " \t"); len(t) == 0 || t[0] == '#' {
			continue
		}
		e, why := parseSubIDLine(string(line))
		if why != "" {
			return nil, &Problem{
				Reason: RangeMalformed,
				Cause:  fmt.Sprintf("%s:%d: %q: %s", file, n, clip(line), why),
				Fix:    fmt.Sprintf(`write line %d of %s as "user:start:count", such as "alice:100000:65536", or delete it`, n, file),
			}
		}
		e.Line = n
		entries = append(entries, e)
	}
	return entries, nil
}

// clip shortens a line for an error.
func clip(line []byte) string {
	const most = 120
	if len(line) <= most {
		return string(line)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(line[cut]) {
		cut--
	}
	return string(line[:cut]) + "..."
}

// parseSubIDLine returns why the line is wrong, or "".
func parseSubIDLine(line string) (e SubIDEntry, why string) {
	owner, rest, ok := strings.Cut(line, ":")
	start, count, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || strings.Contains(count, ":") {
		return e, "not three fields separated by colons"
	}
	if owner == "" {
		return e, "no owner"
	}
	if strings.ContainsAny(owner, " \t\r\x00") {
		return e, "the owner contains white space or NUL"
	}
	var why2 string
	e.Owner = owner
	e.Range.Start, why = decimal("start", start)
	e.Range.Count, why2 = decimal("count", count)
	switch {
	case why != "":
		return e, why
	case why2 != "":
		return e, why2
	case e.Range.Count == 0:
		return e, "the count is 0"
	case e.Range.last() > maxID:
		return e, fmt.Sprintf("the range goes past the last id %d", uint32(maxID))
	}
	return e, ""
}

// decimal reads a number. Signs, spaces, hexadecimal and leading zeros are
// refused: the shadow tools read "0100" as octal 64, others as 100.
func decimal(what, s string) (v uint32, why string) {
	if s == "" {
		return 0, "the " + what + " is missing"
	}
	if len(s) > 1 && s[0] == '0' || strings.Trim(s, "0123456789") != "" {
		return 0, "the " + what + " is not a plain decimal number"
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, "the " + what + " does not fit in 32 bits"
	}
	return uint32(n), ""
}

// OverlapsIn returns a *Problem with Reason RangeOverlap when two ranges of a
// file share an id: the users, or their sandboxes, could then reach each
// other's files and processes.
func OverlapsIn(file string, entries []SubIDEntry) error {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b SubIDEntry) int {
		switch {
		case a.Range.Start < b.Range.Start:
			return -1
		case a.Range.Start > b.Range.Start:
			return 1
		}
		return 0
	})
	// As long as none overlap, the one before reaches furthest.
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Range.overlaps(sorted[i-1].Range) {
			return overlap(file, sorted[i-1], sorted[i])
		}
	}
	return nil
}

func overlap(file string, a, b SubIDEntry) error {
	if a.Line > b.Line {
		a, b = b, a
	}
	return &Problem{
		Reason: RangeOverlap,
		Cause: fmt.Sprintf("%s:%d: the range %s of %q overlaps %s of %q on line %d",
			file, b.Line, b.Range, b.Owner, a.Range, a.Owner, a.Line),
		Fix: fmt.Sprintf("give line %d or line %d of %s ids of its own, or delete one of them", a.Line, b.Line, file),
	}
}

// rangesOf returns a user's ranges in the file's order. A range that overlaps
// any other line is refused; overlaps between two other users are not this
// user's to repair and are left to OverlapsIn.
func rangesOf(file string, entries []SubIDEntry, name, uid string) ([]Range, error) {
	var own []Range
	for i, e := range entries {
		if !e.ownedBy(name, uid) {
			continue
		}
		for j, o := range entries {
			if i != j && e.Range.overlaps(o.Range) {
				return nil, overlap(file, e, o)
			}
		}
		own = append(own, e.Range)
	}
	return own, nil
}

// checkGrant refuses ranges that would give a job ids it must never have.
func checkGrant(where, kind string, ranges []Range, callerID uint32) error {
	for _, r := range ranges {
		switch {
		case r.contains(0):
			return &Problem{
				Reason: RangeForbidden,
				Cause:  fmt.Sprintf("%s: the range %s contains %s 0, which is root", where, r, kind),
				Fix:    "choose a range above 100000 and below 600100000 that nobody else has",
			}
		case r.contains(callerID):
			return &Problem{
				Reason: RangeForbidden,
				Cause:  fmt.Sprintf("%s: the range %s contains the caller's own %s %d", where, r, kind, callerID),
				Fix:    "choose a range above 100000 and below 600100000 that nobody else has",
			}
		}
	}
	return nil
}
