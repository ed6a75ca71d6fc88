package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/registry"
)

func digestOf(s string) image.Digest { return image.DigestOf([]byte(s)) }

func TestBars(t *testing.T) {
	layers := []registry.Progress{
		{Number: 1, Layers: 4, Digest: digestOf("a"), Done: 2_000_000, Total: 2_000_000, State: registry.Unpacked},
		{Number: 2, Layers: 4, Digest: digestOf("b"), Done: 500, Total: 1000, State: registry.Moving},
		{Number: 3, Layers: 4, Digest: digestOf("c"), State: registry.Present},
		{Number: 4, Layers: 4},
	}
	all := []string{
		"  1 ca978112ca1b [==============================]     2MB/2MB     unpacked",
		"  2 3e23e8160039 [===============               ]    500B/1kB     downloading",
		"  3 2e7d2c03a950 [==============================]      0B/0B      already here",
		"  4 waiting",
	}
	if diff := cmp.Diff(all, bars(layers, pullWords, 10, 100)); diff != "" {
		t.Error(diff)
	}
	// Where there are too many, those at their end give way.
	if diff := cmp.Diff(all[1:], bars(layers, pullWords, 3, 100)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(all[1:2], bars(layers, pullWords, -5, 100)); diff != "" {
		t.Error(diff)
	}
	for _, line := range bars(layers, pullWords, 10, 20) {
		if len(line) > 19 {
			t.Errorf("too long: %q", line)
		}
	}
}

// TestPlainProgress: without a terminal each change of a state is a line, and
// what a registry says cannot move a cursor.
func TestPlainProgress(t *testing.T) {
	var b bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetErr(&b)
	cmd.Flags().Bool("quiet", false, "")
	p := newProgress(cmd, "pulling x", pullWords)
	l := registry.Progress{Number: 2, Layers: 2, Digest: digestOf("b"), Done: 1, Total: 1000}
	p.layer(l)
	l.Done, l.State = 1000, registry.Unpacked
	p.layer(l)
	l.State = registry.Moved // it comes late
	p.layer(l)
	p.note("a\x1b[2Jb\nc")
	p.end()
	want := "pulling x\nlayer 2 of 2, 3e23e8160039: unpacked 1kB\nbrig: note: a\\x1b[2Jb\\nc\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	if err := cmd.Flags().Set("quiet", "true"); err != nil {
		t.Fatal(err)
	}
	p = newProgress(cmd, "pulling x", pullWords)
	p.layer(l)
	p.note("x")
	p.end()
	if b.Len() > 0 {
		t.Errorf("quiet, and yet %q", b.String())
	}
}

// TestDrawnProgress: bars are drawn over, notes stand above them, and the last
// state stays.
func TestDrawnProgress(t *testing.T) {
	var b bytes.Buffer
	p := &progress{out: &b, words: pullWords, bars: true, stop: make(chan struct{})}
	p.layer(registry.Progress{Number: 1, Layers: 1, Digest: digestOf("a"), Done: 1, Total: 2})
	p.draw()
	p.note("n")
	p.end()
	bar := "  1 ca978112ca1b [===============               ]      1B/2B      downloading\x1b[K\n\x1b[J"
	if want := bar + "\x1b[1A\x1b[Jbrig: note: n\n" + bar; b.String() != want {
		t.Errorf("%q, want %q", b.String(), strings.ReplaceAll(want, "\n", `\n`))
	}
}
