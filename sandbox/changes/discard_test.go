package changes

import (
	"strings"
	"testing"
)

// Discarding a change leaves the others, and shows what the lower layers have.
func TestDiscard(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		paths        string
		want         string // the scan afterwards
		shown        string // by find in the merged directory
	}{
		{"a file", "echo x >>a; echo y >>b", "a", "C b (content)\n", ""},
		{"an added directory", "mkdir -p n/m; echo 1 >n/m/f; echo 2 >n/g", "n", "", ""},
		{"a part of an added directory", "mkdir -p n/m; echo 1 >n/m/f; echo 2 >n/g", "n/m", "A n\n A n/g\n", ""},
		{"a deleted file", "rm a d/one", "d/one", "D a\n", ""},
		{"a deleted directory", "rm -r d", "d", "", ""},
		{"of a directory made again", "rm -r d; mkdir d; echo 3 >d/three", "d/one", "D d/sub\n D d/sub/two\nA d/three\n", "d d/one d/three"},
		{"a changed file in one", "rm -r d; mkdir -p d/sub; echo 3 >d/one; echo 3 >d/sub/two; echo 3 >d/sub/x", "d/one", "C d/sub/two (content)\nA d/sub/x\n", "d d/one d/sub d/sub/two d/sub/x"},
		{"deeper in one", "rm -r d; mkdir -p d/sub; echo 3 >d/sub/x", "d/sub/two", "D d/one\nA d/sub/x\n", "d d/sub d/sub/two d/sub/x"},
		{"all of one", "rm -r d; mkdir -p d/sub; echo 3 >d/sub/x", "d/one d/sub/two d/sub/x", "", "d d/one d/sub d/sub/two"},
		{"a mode", "chmod 700 d; chmod 600 a", "d", "C a (mode 0600, was 0644)\n", ""},
		{"a mode, of a directory with changes", "chmod 700 d; echo 3 >d/x", "d", "A d/x\n", ""},
		{"a file in the place of a directory", "rm -r d; echo f >d", "d", "", "d d/one d/sub d/sub/two"},
		{"a directory in the place of a file", "rm a; mkdir a; echo >a/f", "a", "", ""},
		{"a file in one", "rm a; mkdir a; echo >a/f", "a/f", "C a (directory, was file)\n", ""},
		{"a closed directory", "mkdir -p n/m; echo >n/m/f; chmod 0 n/m n", "n", "", ""},
		{"twice", "echo x >>a", "a a", "", ""},
		{"what has gone", "echo x >>a", "b nothing/at/all", "C a (content)\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOverlay(t, lowerScript)
			o.run(tt.script)
			for range 2 { // interrupted, it is done again
				if err := o.tree().Discard(strings.Fields(tt.paths)); err != nil {
					t.Fatal(err)
				}
			}
			if got := o.scan(); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if tt.shown != "" {
				if got := strings.Join(strings.Fields(o.run("find d | sort")), " "); got != tt.shown {
					t.Errorf("merged: %q, want %q", got, tt.shown)
				}
			}
		})
	}
}

// Settle removes what the host has by now, so that it shows through.
func TestSettle(t *testing.T) {
	for _, tt := range []struct{ name, script, host, paths, want string }{
		{"a file", "echo x >>a", "echo x >>a", "a", ""},
		{"a file that has changed since", "echo x >>a", "echo x >>a; echo y >>a", "a", "C a (content)\n"},
		{"a hole", "truncate -s 1T a", "truncate -s 1T a", "a", ""},
		{"a byte in a hole", "truncate -s 1T a; printf x | dd of=a bs=1 seek=1G conv=notrunc status=none", "truncate -s 1T a", "a", "C a (content)\n"},
		{"bits that are not applied", "chmod 4755 tool", "", "tool", ""},
		{"a mode", "chmod 700 tool", "", "tool", "C tool (mode 0700, was 0755)\n"},
		{"a link", "ln -sf b link", "", "link", "C link (content)\n"},
		{"a deleted directory", "rm -r d", "rm -r d", "d", ""},
		{"an added directory", "mkdir -p n/m; echo 1 >n/m/f; echo 2 >n/g", "mkdir -p n/m; echo 1 >n/m/f; echo later >n/later", "n n/m n/m/f", "A n/g\n"},
		{"made again", "rm -r d; mkdir d", "rm -r d/*; echo later >d/later", "d/one d/sub", "D d/later\n"},
		{"made again, nothing since", "rm -r d; mkdir d", "rm -r d/*", "d/one d/sub", ""},
		{"a part of one made again", "rm -r d; mkdir d; echo 3 >d/three", "echo 3 >d/three", "d/three", "D d/one\nD d/sub\n D d/sub/two\n"},
		{"another type by now", "rm a; mkdir a; echo f >a/f", "", "a", "C a (directory, was file)\n A a/f\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOverlay(t, lowerScript)
			o.run(tt.script)
			shell(t, o.lowers[0], tt.host)
			for range 2 {
				if err := o.tree().Settle(strings.Fields(tt.paths)); err != nil {
					t.Fatal(err)
				}
			}
			if got := o.scan(); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}
