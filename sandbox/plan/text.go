package plan

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// String returns the plan's text form: what `brig run --plan` prints, what
// golden tests compare, and what Digest covers. Strings from outside are
// quoted, so that none can forge a line or move a terminal's cursor.
func (p *Plan) String() string { return string(p.AppendText(nil)) }

// AppendText appends the text form to b.
func (p *Plan) AppendText(b []byte) []byte {
	b = append(b, "plan "...)
	b = strconv.AppendInt(b, int64(p.Version), 10)
	b = append(b, "\nnamespaces"...)
	for _, ns := range p.Namespaces {
		b = appendWord(b, string(ns))
	}
	b = appendWord(append(b, "\nids"...), p.IDs.Map)
	b = appendWord(append(b, " written-by"...), string(p.IDs.By))
	b = append(b, " cloned-as "...)
	b = appendPair(b, p.IDs.CloneUID, p.IDs.CloneGID)
	b = appendMap(append(b, "\n  uid"...), p.IDs.UID)
	b = appendMap(append(b, "\n  gid"...), p.IDs.GID)
	b = appendWord(append(b, "\nstdio"...), string(p.Stdio))
	b = append(b, '\n')
	var stage Stage
	for i := range p.Ops {
		op := &p.Ops[i]
		if s := op.Kind.Stage(); s != stage {
			stage = s
			b = append(b, [...]string{"", "set-up\n", "init\n", "job\n"}[s]...)
		}
		b = append(b, "  "...)
		n := strconv.Itoa(i + 1)
		b = append(b, "   "[min(len(n), 3):]...)
		b = append(b, n...)
		b = append(b, ' ')
		b = op.AppendText(b)
		b = append(b, '\n')
	}
	for _, l := range p.Limits {
		b = appendWord(append(b, "limit"...), l.Name)
		b = appendWord(b, l.Value)
		b = append(appendWord(append(b, " by"...), l.Mechanism), '\n')
	}
	for _, n := range p.Notes {
		b = append(appendProse(append(b, "note "...), n), '\n')
	}
	return b
}

// String returns the op as a plan's text form prints it.
func (op *Op) String() string { return string(op.AppendText(nil)) }

// AppendText appends the op's line, without the line feed.
func (op *Op) AppendText(b []byte) []byte {
	b = append(b, op.Kind.String()...)
	if op.Handle != 0 {
		b = append(append(b, " #"...), strconv.Itoa(op.Handle)...)
	}
	for _, h := range op.Layers {
		b = append(append(b, " #"...), strconv.Itoa(h)...)
	}
	if op.Source != "" {
		b = appendWord(b, op.Source)
	}
	if op.Target != "" {
		b = appendWord(append(b, " ->"...), op.Target)
	}
	if op.Data != "" {
		b = append(b, ' ')
		b = strconv.AppendQuote(b, op.Data)
	}
	switch op.Kind {
	case Rlimit:
		b = appendLimit(append(b, " soft "...), op.Size)
		b = appendLimit(append(b, " hard "...), op.Inodes)
	case Scratch, Tmpfs:
		b = appendLimit(append(b, " size "...), op.Size)
		b = appendLimit(append(b, " inodes "...), op.Inodes)
	case SetIDs, InitIDs, JobIDs:
		b = appendPair(append(b, ' '), op.UID, op.GID)
		for i, g := range op.Groups {
			b = append(b, [...]string{" groups ", ","}[min(i, 1)]...)
			b = strconv.AppendUint(b, uint64(g), 10)
		}
	case Open:
		if op.Flags.Has(Mapped) {
			b = appendPair(append(b, " owner "...), op.OwnerUID, op.OwnerGID)
			b = appendPair(append(b, " as "...), op.UID, op.GID)
		}
	default:
	}
	if op.Mode != 0 {
		b = append(append(b, " mode 0"...), strconv.FormatUint(uint64(op.Mode), 8)...)
	}
	if op.CharDevice != 0 {
		b = append(append(b, " char "...), strconv.FormatUint(op.CharDevice>>8, 10)...)
		b = append(append(b, ':'), strconv.FormatUint(op.CharDevice&0xff, 10)...)
	}
	if op.Flags != 0 {
		b = append(append(b, ' '), op.Flags.String()...)
	}
	for _, n := range op.Names {
		b = appendWord(b, n)
	}
	if len(op.Write) > 0 {
		b = append(b, writeWord(op.Kind)...)
		for _, n := range op.Write {
			b = appendWord(b, n)
		}
	}
	return b
}

// writeWord introduces an op's Write.
func writeWord(k Kind) string {
	switch k {
	case Exec:
		return " from"
	case Cgroup:
		return " on-job"
	default:
		return " write"
	}
}

var flagNames = [...]string{"ro", "nosuid", "nodev", "noexec", "optional", "dir", "setgroups", "overlay", "below-scratch", "nofollow", "in-place", "job-owned", "delegated", "kept", "mapped"}

// String lists the flags' names, separated by commas.
func (fl Flags) String() string {
	var names []string
	for i, n := range flagNames {
		if fl&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ",")
}

// appendProse appends a sentence, quoted where it holds what does not print.
func appendProse(b []byte, s string) []byte {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return strconv.AppendQuote(b, s)
		}
	}
	return append(b, s...)
}

// appendWord appends a space and s, quoted where it is not plain, or could be
// taken for a word of the text form's own.
func appendWord(b []byte, s string) []byte {
	b = append(b, ' ')
	if s == "from" || s == "write" || s == "on-job" {
		return strconv.AppendQuote(b, s)
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return strconv.AppendQuoteToASCII(b, s)
		}
	}
	if s == "" {
		return append(b, `""`...)
	}
	return append(b, s...)
}

func appendLimit(b []byte, n int64) []byte {
	if n < 0 {
		return append(b, "unlimited"...)
	}
	return strconv.AppendInt(b, n, 10)
}

func appendPair(b []byte, u, g uint32) []byte {
	b = strconv.AppendUint(b, uint64(u), 10)
	return strconv.AppendUint(append(b, ':'), uint64(g), 10)
}

func appendMap(b []byte, list []Mapping) []byte {
	for _, m := range list {
		b = strconv.AppendUint(append(b, ' '), uint64(m.Inside), 10)
		b = strconv.AppendUint(append(b, ':'), uint64(m.Outside), 10)
		b = strconv.AppendUint(append(b, ':'), uint64(m.Count), 10)
	}
	return b
}
