package changes

import (
	"fmt"
	"strings"
	"testing"
)

// What is in a directory that came or went is told of with it.
func TestTops(t *testing.T) {
	o := newOverlay(t, lowerScript)
	o.run("rm -r d; echo file >d; rm -r e; mkdir -p n/m; echo 12 >n/m/f; echo x >>a; rm b; mkdir b; echo 1 >b/1; chmod 700 .")
	var b strings.Builder
	var tops Tops
	var list []*Change
	add := func(g *Group) {
		if g != nil {
			fmt.Fprintf(&b, "%s %s %d files, %d bytes\n", g.Kind, g.Path, g.Files, g.Bytes)
		}
	}
	err := o.tree().Scan(func(c *Change, _ *Source) error {
		list = append(list, c)
		add(tops.Add(c))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	add(tops.Last())
	add(tops.Last())
	want := "C a 0 files, 4 bytes\nC b 1 files, 2 bytes\nC d 3 files, 9 bytes\nD e 1 files, 2 bytes\nA n 2 files, 3 bytes\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	for p, with := range map[string]string{"d/one": "d", "d/sub/two": "d", "e/x": "e", "n/m/f": "", "b/1": "", "d": "", "dd": ""} {
		got := ""
		if c := DeletedAbove(p, list); c != nil {
			got = c.Path
		}
		if got != with {
			t.Errorf("%s went with %q, want %q", p, got, with)
		}
	}
	if got := Unmatched([]string{"a", "n/m", "x", "", "n/m/f/g"}, list); fmt.Sprint(got) != "[x n/m/f/g]" {
		t.Errorf("unmatched: %q", got)
	}
	for p, want := range map[string]bool{"a": true, "n/m/f": true, "n/mm": false, "b": false} {
		if got := Selected([]string{"a", "n/m"}, p); got != want {
			t.Errorf("%s is selected: %v", p, got)
		}
	}
}

func TestLeaves(t *testing.T) {
	for _, tt := range []struct {
		path, target string
		want         bool
	}{
		{"l", "/etc", true},
		{"l", "..", true},
		{"l", "a/../b", false},
		{"l", "a/../../b", true},
		{"d/l", "../a", false},
		{"d/l", "../../a", true},
		{"d/l", ".//./../x", false},
	} {
		c := &Change{Kind: Added, Path: tt.path, New: &Meta{Type: Symlink}, Target: tt.target}
		if got := Leaves(c); got != tt.want {
			t.Errorf("%s -> %s leaves: %v", tt.path, tt.target, got)
		}
	}
}
