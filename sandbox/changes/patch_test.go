package changes

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

func (o *overlay) patch() string {
	o.t.Helper()
	var b strings.Builder
	if err := o.tree().Scan(func(c *Change, s *Source) error { return Patch(&b, c, s) }); err != nil {
		o.t.Fatal(err)
	}
	return b.String()
}

func TestPatchText(t *testing.T) {
	for _, tt := range []struct{ name, job, want string }{
		{"changed", "echo more >>a", "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1,2 @@\n a\n+more\n"},
		{"no end of line", "printf x >a", "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n+x\n\\ No newline at end of file\n"},
		{"mode", "chmod 755 a", "diff --git a/a b/a\nold mode 100644\nnew mode 100755\n"},
		{"a mode that patches have not", "chmod 600 a", "# not in this patch: a: only its mode or owner differ, in a way that patches do not have\n"},
		{"empty", ": >n", "diff --git a/n b/n\nnew file mode 100644\n"},
		{"deleted", "rm -r d/sub", "diff --git a/d/sub/two b/d/sub/two\ndeleted file mode 100644\n--- a/d/sub/two\n+++ /dev/null\n@@ -1 +0,0 @@\n-2\n"},
		{"link for a file", "ln -sf b a", "diff --git a/a b/a\ndeleted file mode 100644\n--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n" +
			"diff --git a/a b/a\nnew file mode 120000\n--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+b\n\\ No newline at end of file\n"},
		{"binary", `printf 'x\0y' >a`, "# not in this patch: a: it is binary (3 bytes)\n"},
		{"too large", `head -c 1048577 /dev/zero >a`, "# not in this patch: a: it is too large (1048577 bytes)\n"},
		{"special", `mkfifo x`, "# not in this patch: x: it is a fifo\n"},
		{"names", `echo >"$(printf 'x\n"\377 y')"`, "diff --git \"a/x\\012\\\"\\377 y\" \"b/x\\012\\\"\\377 y\"\nnew file mode 100644\n--- /dev/null\n+++ \"b/x\\012\\\"\\377 y\"\n@@ -0,0 +1 @@\n+\n"},
		{"a space in a name", `echo >"x y"`, "diff --git a/x y b/x y\nnew file mode 100644\n--- /dev/null\n+++ b/x y\t\n@@ -0,0 +1 @@\n+\n"},
		{"the mode of a directory", "chmod 700 d", "# not in this patch: d: the directory's mode is 0700, was 0755\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOverlay(t, lowerScript)
			o.run(tt.job)
			if got := o.patch(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestPatchApplies has git and patch make of the old files what the job made.
func TestPatchApplies(t *testing.T) {
	for _, tool := range []string{"git apply -", "patch -s -p1"} {
		t.Run(tool, func(t *testing.T) {
			sandboxtest.Need(t, strings.Fields(tool)[0])
			random := rand.New(rand.NewPCG(1, 2))
			text := func() []byte {
				var b []byte
				for range random.IntN(40) {
					b = append(b, []string{"a\n", "b\n", "\n", "c\r\n", "\xff\xfe\n", "-- x\n", "+++ y\n", "diff --git a/x b/x\n", "\t z \n"}[random.IntN(9)]...)
				}
				if random.IntN(3) == 0 {
					b = append(b, "no end"...)
				}
				return b
			}
			o := newOverlay(t, "mkdir d; echo x >'d/with space'; echo y >'d/with \"quote\"'; echo z >tool; ln -s a link; echo gone >gone")
			job := t.TempDir()
			for i := range 30 {
				name := "f" + string(rune('A'+i))
				if err := os.WriteFile(filepath.Join(o.lowers[0], name), text(), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(job, name), text(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			o.run("cat >/dev/null; for f in " + job + "/f*; do cat $f >${f##*/}; done; echo 1 >>'d/with space'; echo 2 >>'d/with \"quote\"'; chmod 755 tool; rm gone; mkdir n; : >n/empty; echo t >\"$(printf 'n/\\303\\244\\t')\"; printf 'x\\0' >n/bin; rm n/bin")
			want := o.run(listing)
			cmd := exec.Command("sh", "-c", tool)
			cmd.Dir = o.lowers[0]
			cmd.Stdin = strings.NewReader("# not in this patch: x: it is binary (3 bytes)\n" + o.patch())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			p := &project{overlay: o}
			if got := p.listHost(); got != want {
				t.Errorf("%s made\n%q\nwant\n%q", tool, got, want)
			}
		})
	}
}

// What a patch costs is bounded, whatever the files are.
func TestPatchCost(t *testing.T) {
	a := &side{mode: "100644", text: strings.Repeat("a\nb\n", MaxPatch/4)}
	b := &side{mode: "100644", text: strings.Repeat("b\nc\na\n", MaxPatch/6)}
	var out bytes.Buffer
	if err := writeFile(&out, "x", a, b); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 16*MaxPatch {
		t.Errorf("%d bytes", out.Len())
	}
}
