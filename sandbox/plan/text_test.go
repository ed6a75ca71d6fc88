package plan

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"
)

// hostile are strings that would forge a line, move a cursor or turn the
// direction of writing if they were printed as they are.
var hostile = []string{
	"\n  12 exec /bin/true", "\r", "\x1b[2J\x1b[1;1H", "\u202e txt.exe", "\u2066", "\u0085", "\u2028", "a\tb",
	`"`, `\n`, "\xff\xfe", "\u00a0", "x\x00y", "\x7f", "\u200b",
}

func TestTextOfEverything(t *testing.T) {
	const golden = "testdata/everything.plan"
	got := everything().String()
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; the text form is now\n%s", golden, got)
	}
}

// Whatever a string is, wherever it stands, the text has as many lines as
// before and nothing in it that does not print.
func TestHostileStrings(t *testing.T) {
	lines := strings.Count(everything().String(), "\n")
	for _, h := range hostile {
		p := everything()
		for i := range p.Ops {
			op := &p.Ops[i]
			op.Source, op.Target, op.Data = h, h, h
			op.Names, op.Write = []string{h, h}, []string{h}
		}
		p.Namespaces = append(p.Namespaces, Namespace(h))
		p.IDs.Map, p.IDs.By, p.Stdio = h, MapWriter(h), Stdio(h)
		p.Limits = []Limit{{h, h, h}}
		p.Notes = []string{h}
		text := p.String()
		if n := strings.Count(text, "\n"); n != lines {
			t.Errorf("%q makes %d lines of %d:\n%s", h, n, lines, text)
		}
		for _, r := range text {
			if r != '\n' && (!unicode.IsPrint(r) || r == unicode.ReplacementChar) {
				t.Errorf("%q comes out with %U", h, r)
				break
			}
		}
	}
}

// Two ops that do different things never look alike.
func TestTextTellsApart(t *testing.T) {
	tests := [][2]Op{
		{{Kind: Exec, Names: []string{"a b"}}, {Kind: Exec, Names: []string{"a", "b"}}},
		{{Kind: Exec, Names: []string{"a", ""}}, {Kind: Exec, Names: []string{"a"}}},
		{{Kind: Exec, Names: []string{"a", "from", "/b"}, Write: []string{"/c"}}, {Kind: Exec, Names: []string{"a"}, Write: []string{"/b", "from", "/c"}}},
		{{Kind: Landlock, Names: []string{"/a", "write", "/b"}}, {Kind: Landlock, Names: []string{"/a"}, Write: []string{"/b"}}},
		{{Kind: Cgroup, Names: []string{"a", "on-job", "b"}}, {Kind: Cgroup, Names: []string{"a"}, Write: []string{"b"}}},
		{{Kind: Exec, Names: []string{`"a"`}}, {Kind: Exec, Names: []string{"a"}}},
		{{Kind: Exec, Names: []string{"\n"}}, {Kind: Exec, Names: []string{`\n`}}},
		{{Kind: Open, CharDevice: 1<<8 | 3}, {Kind: Open, CharDevice: 1<<20 | 1<<8 | 3}},
		{{Kind: Rlimit, Data: "core", Size: -1}, {Kind: Rlimit, Data: "core"}},
		{{Kind: Mask, Target: "/a"}, {Kind: Mask, Target: "/a", Flags: Directory}},
	}
	for _, tt := range tests {
		if a, b := tt[0].String(), tt[1].String(); a == b {
			t.Errorf("%+v and %+v are both %s", tt[0], tt[1], a)
		}
	}
}

func TestOpText(t *testing.T) {
	tests := []struct {
		op   Op
		want string
	}{
		{Op{Kind: Open, Handle: 2, Source: "/home/a b", Flags: ReadOnly | InPlace}, `open #2 "/home/a b" ro,in-place`},
		{Op{Kind: Open, Handle: 1, Source: "/dev/null", CharDevice: 259}, "open #1 /dev/null char 1:3"},
		{Op{Kind: Mkdir, Target: "/tmp", Mode: 0o1777, Flags: JobOwned}, "mkdir -> /tmp mode 01777 job-owned"},
		{Op{Kind: Symlink, Target: "/bin", Data: "usr/bin"}, `symlink -> /bin "usr/bin"`},
		{Op{Kind: Scratch, Size: 10, Inodes: -1}, "scratch size 10 inodes unlimited"},
		{Op{Kind: Rlimit, Data: "cpu", Size: 2, Inodes: 3}, `rlimit "cpu" soft 2 hard 3`},
		{Op{Kind: JobIDs, UID: 1000, GID: 1001, Groups: []uint32{4, 27}}, "job-ids 1000:1001 groups 4,27"},
		{Op{Kind: JobIDs}, "job-ids 0:0"},
		{Op{Kind: Landlock, Names: []string{"/"}, Write: []string{"/tmp", "/w"}}, "landlock / write /tmp /w"},
		{Op{Kind: Exec, Names: []string{"sh", "-c", "echo 1"}, Write: []string{"/bin/sh"}}, `exec sh -c "echo 1" from /bin/sh`},
		{Op{Kind: Copy, Source: "/\u00fc", Target: "/x"}, `copy "/\u00fc" -> /x`},
	}
	for _, tt := range tests {
		if got := tt.op.String(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestFlagNames(t *testing.T) {
	if 1<<len(flagNames) != int(flagsEnd) {
		t.Fatalf("%d names, flags end at %#x", len(flagNames), int(flagsEnd))
	}
	seen := map[string]bool{}
	for f := Flags(1); f < flagsEnd; f <<= 1 {
		name := f.String()
		if name == "" || seen[name] {
			t.Errorf("flag %#x is called %q", uint32(f), name)
		}
		seen[name] = true
	}
	if got := (ReadOnly | NoFollow).String(); got != "ro,nofollow" {
		t.Error(got)
	}
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := Kind(1); k < kindEnd; k++ {
		text, err := k.MarshalText()
		if err != nil || string(text) != k.String() || len(text) == 0 || seen[k.String()] {
			t.Errorf("kind %d: %q, %v", k, text, err)
		}
		seen[k.String()] = true
		var back Kind
		if err := back.UnmarshalText(text); err != nil || back != k {
			t.Errorf("%s comes back as %s: %v", k, back, err)
		}
		if rank[k] == 0 {
			t.Errorf("%s has no rank", k)
		}
	}
	for _, k := range []Kind{0, kindEnd, 255} {
		want := fmt.Sprintf("no such kind of op: %d", k)
		if _, err := k.MarshalText(); err == nil || err.Error() != want {
			t.Errorf("kind %d: %v, want %s", k, err, want)
		}
	}
	for _, name := range []string{"", "Exec", "exec ", "kind(1)", "mount"} {
		var k Kind
		want := fmt.Sprintf("no such kind of op: %q", name)
		if err := k.UnmarshalText([]byte(name)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}
