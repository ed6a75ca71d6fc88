package changes

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// attributesOf lists all that a copy has to have, of each name.
func attributesOf(t *testing.T, dir string) string {
	t.Helper()
	const script = `find . -printf '%P|%y|%m|%U:%G|%n|%s|%T@|%l\n' | sort
find . -type f -links +1 -printf '%i %P\n' | sort -k2 | awk '{ if (!($1 in n)) n[$1] = ++k; print n[$1], $2 }'
find . -type f -readable -printf '%P %b\n' | sort
find . \( -type f -o -type d \) -readable -print0 | sort -z | xargs -0 python3 -c 'import os, sys; [print(f, a, os.getxattr(f, a)) for f in sys.argv[1:] for a in os.listxattr(f)]'
find . -type f -readable -print0 | sort -z | xargs -0 cat | md5sum`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Directories have other sizes on other file systems.
	var lines []string
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Split(line, "|"); len(f) == 8 && f[1] == "d" {
			f[4], f[5] = "", ""
			line = strings.Join(f, "|")
		} else if len(f) == 8 && f[1] == "c" {
			f[4] = "" // overlayfs has one whiteout for all, with a name in its work directory
			line = strings.Join(f, "|")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// lacking are the lines of a text that another one has not.
func lacking(text, other string) string {
	has := map[string]bool{}
	for _, line := range strings.Split(other, "\n") {
		has[line] = true
	}
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return has[line] }), "\n")
}

// TestCopy: the copy of an upper is the same, down to what overlayfs reads in it.
func TestCopy(t *testing.T) {
	o := newOverlay(t, `mkdir gone opaque both; echo 1 >gone/a; echo 2 >opaque/b; echo 3 >both/c; echo 4 >both/d; echo 5 >deleted; echo 6 >touched`)
	o.run(`rm -r gone opaque; mkdir opaque; echo new >opaque/n; rm deleted both/c; touch -d 2001-02-03 touched
echo one >one; ln one two; ln one both/three; ln -s /etc/passwd link; ln -s nowhere dangling; mkfifo fifo
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
chmod 4711 one; chmod 1755 both; chmod 600 fifo; mkdir -m 0 closed; truncate -s 64M sparse; echo end >>sparse; python3 -c 'import os; os.setxattr("one", "user.mine", b"x")'
printf x >"$(printf 'line\nfeed\377')"; mkdir deep; cd deep; for i in $(seq 300); do mkdir d; cd d; done; echo bottom >file`)
	if err := os.Chmod(filepath.Join(o.upper(), "closed"), 0o500); err != nil { // without privileges nobody looks into it
		t.Fatal(err)
	}
	to := filepath.Join(o.dir, "copy")
	if err := Copy(o.upper(), to); err != nil {
		t.Fatal(err)
	}
	if got, want := attributesOf(t, to), attributesOf(t, o.upper()); got != want {
		t.Errorf("the copy has\n%s\nthe upper\n%s", lacking(got, want), lacking(want, got))
	}
	before := o.scan()
	if err := os.Rename(o.upper(), o.upper()+"-was"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to, o.upper()); err != nil {
		t.Fatal(err)
	}
	if got := o.scan(); got != before || !strings.Contains(got, "D gone\n") || !strings.Contains(got, "D opaque/b\n") {
		t.Errorf("changes of the copy:\n%s\nof the upper:\n%s", got, before)
	}
	// And overlayfs sees the same.
	if got := o.run(`ls -A; ls opaque both; cat both/three`); !strings.HasSuffix(got, "three\n\nopaque:\nn\none\n") || strings.Contains(got, "gone") || strings.Contains(got, "deleted") {
		t.Errorf("merged: %q", got)
	}
}

// TestCopyDeep: a tree that no path reaches is copied all the same.
func TestCopyDeep(t *testing.T) {
	o := newOverlay(t, `true`)
	to := filepath.Join(o.dir, "copy")
	o.run(`python3 -c '
import os
open("first", "w").write("one")
for i in range(700):
    os.mkdir("n" * 20)
    os.link("first", "n" * 20 + "/first") if i < 3 else open("f", "w").write(str(i))
    os.chdir("n" * 20)
os.chmod(".", 0o500)'`)
	if err := Copy(o.upper(), to); err != nil {
		t.Fatal(err)
	}
	count := func(dir string) string {
		cmd := exec.Command("sh", "-c", `find . -printf '%y %m %n %s %d\n' | grep -v ^d | sort | md5sum; find . -type d | wc -l; find . -type f -execdir cat {} \; | wc -c`)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got, want := count(to), count(o.upper()); got != want || !strings.Contains(got, "\n701\n") {
		t.Errorf("the copy has %q, the upper %q", got, want)
	}
}

// There is no copy over something else, nor of what a link leads to.
func TestCopyRefuses(t *testing.T) {
	o := newOverlay(t, `true`)
	to := filepath.Join(o.dir, "copy")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Copy(o.upper(), to); err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("error: %v", err)
	}
	if err := os.Symlink(o.upper(), filepath.Join(o.dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := Copy(filepath.Join(o.dir, "link"), to+"2"); err == nil || !strings.Contains(err.Error(), unix.ENOTDIR.Error()) && !strings.Contains(err.Error(), unix.ELOOP.Error()) {
		t.Errorf("error: %v", err)
	}
}
