package policy

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ErrNotFound is the cause when no policy has the name that was asked for.
var ErrNotFound = errors.New("no such policy")

// Fault is one thing that is wrong with a policy.
type Fault struct {
	// File is the file, shipped policy ("shipped default.toml") or flag where it
	// stands.
	File string
	// Line counts from 1; 0 when the fault has no line.
	Line int
	// Key is the dotted path of the key ("limits.memory"), empty when the
	// fault is about the file as a whole.
	Key string
	// Problem says what is wrong, with the value and what would be accepted.
	Problem string
	// Cause is the error behind it, or nil.
	Cause error

	order int // the layer, for sorting
}

// Error writes the fault on one line that is safe to print on a terminal.
func (f *Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(printable(f.File))
		if f.Line > 0 {
			b.WriteString(":" + strconv.Itoa(f.Line))
		}
		b.WriteString(": ")
	}
	if f.Key != "" {
		b.WriteString(printable(f.Key) + ": ")
	}
	b.WriteString(printable(f.Problem))
	return b.String()
}

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Cause }

// FaultList is everything that is wrong with a policy, in the order of the
// layers and their lines.
type FaultList []*Fault

// Error writes one line for each fault.
func (l FaultList) Error() string {
	lines := make([]string, len(l))
	for i, f := range l {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the faults to errors.Is and errors.As.
func (l FaultList) Unwrap() []error {
	errs := make([]error, len(l))
	for i, f := range l {
		errs[i] = f
	}
	return errs
}

// err is nil for an empty list, which as a FaultList would not be.
func (l FaultList) err() error {
	if len(l) == 0 {
		return nil
	}
	slices.SortStableFunc(l, func(a, b *Fault) int {
		if a.order != b.order {
			return a.order - b.order
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Key, b.Key)
	})
	return l
}

// maxQuoted is how much of a value a message repeats, in bytes.
const maxQuoted = 120

// quote writes a value as a Go string: nothing in it reaches a terminal as a
// control character, and a huge one is cut.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "..."
	}
	return strconv.Quote(s)
}

// printable leaves text as it is when all of it can be printed, and otherwise
// escapes what cannot.
func printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			q := strconv.Quote(s)
			return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
		}
	}
	return s
}
