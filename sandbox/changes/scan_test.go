package changes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const lowerScript = `
echo a >a; echo b >b; ln -s a link; mkdir -p d/sub e; echo 1 >d/one; echo 2 >d/sub/two; echo x >e/x
printf '#!/bin/sh\n' >tool; chmod 755 tool; mkfifo pipe`

func TestScan(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"nothing", "cat a >/dev/null; ls -R >/dev/null", ""},
		{"added", "echo n >new; echo n >d/new", "A d/new\nA new\n"},
		{"changed", "echo more >>a", "C a (content)\n"},
		{"same size", "echo z >a", "C a (content)\n"},
		{"deleted", "rm a d/sub/two", "D a\nD d/sub/two\n"},
		{"touched alone", "touch a d e/x", ""},
		{"written back", "echo more >>a; echo a >a", ""},
		{"mode", "chmod 600 a; chmod 700 d; chmod 4755 tool", "C a (mode 0600, was 0644)\nC d (mode 0700, was 0755)\nC tool (mode 4755, was 0755)\n"},
		{"mode of the top is not told", "chmod 700 .", ""},
		{"a directory that is deleted", "rm -r d", "D d\n D d/one\n D d/sub\n D d/sub/two\n"},
		{"a directory that is added", "mkdir -p n/m; echo 1 >n/m/f", "A n\n A n/m\n A n/m/f\n"},
		{"deleted and made again", "rm -r d; mkdir d; echo 3 >d/three; mkdir d/sub; echo 2 >d/sub/two", "D d/one\nA d/three\n"},
		{"a file in the place of a directory", "rm -r d; echo f >d", "C d (file, was directory)\n D d/one\n D d/sub\n D d/sub/two\n"},
		{"a directory in the place of a file", "rm a; mkdir a; echo f >a/f", "C a (directory, was file)\n A a/f\n"},
		{"a link in the place of a file", "rm a; ln -s b a", "C a (symlink, was file)\n"},
		{"a link", "ln -sf b link", "C link (content)\n"},
		{"moved", "mv a c; mv e f", "D a\nA c\nD e\n D e/x\nA f\n A f/x\n"},
		{"a hard link", "ln a hard; echo x >>hard", "C a (content)\nA hard\n"},
		{"made and deleted", "echo n >new; rm new; mkdir m; rmdir m", ""},
		{"special files", "mkfifo fifo; rm pipe", "A fifo\nD pipe\n"},
		{"order", "echo >d-; mkdir d.d; echo 1 >d/0; echo >d.d/x", "A d/0\nA d-\nA d.d\n A d.d/x\n"},
		{"names", "echo >\"$(printf 'n\\nl')\"; echo >\"$(printf 'e\\033[1m')\"; echo >\"$(printf 'b\\377')\"", "A b\xff\nA e\x1b[1m\nA n\nl\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOverlay(t, lowerScript)
			o.run(tt.script)
			if got := o.scan(); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

// Several layers, with whiteouts and opaque directories of their own.
func TestScanLayers(t *testing.T) {
	o := newOverlay(t, "mkdir d gone o; echo 1 >d/one; echo old >d/both; echo >gone/x; echo >o/old",
		"mkdir d o; echo 2 >d/two; echo new >d/both; echo >o/new")
	if err := unix.Mknod(filepath.Join(o.lowers[1], "gone"), unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(o.lowers[1], "o"), xattrOpaque, []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	if out := o.run("rm -r d o; mkdir d; echo new >d/both; echo 1 >d/one; echo >gone"); out != "" {
		t.Fatal(out)
	}
	if got := o.scan(); got != "D d/two\nA gone\nD o\n D o/new\n" {
		t.Errorf("got\n%s", got)
	}
}

// A newer kernel takes an empty file with an attribute for a whiteout, where the
// directory says that it may hold such.
func TestScanAttributeWhiteout(t *testing.T) {
	o := newOverlay(t, "mkdir d; echo a >d/a; echo b >d/b; : >d/c")
	dir := filepath.Join(o.upper(), "d")
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = unix.Setxattr(dir, xattrOpaque, []byte("x"), 0)
	}
	for _, name := range []string{"a", "c"} {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), nil, 0o644)
		}
	}
	if err == nil {
		err = unix.Setxattr(filepath.Join(dir, "a"), xattrWhiteout, []byte("y"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := o.scan(); got != "D d/a\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestScanRefuses(t *testing.T) {
	for _, attr := range []string{xattrRedirect, xattrMetacopy} {
		o := newOverlay(t, "mkdir d; echo a >d/a")
		name := o.upper() + "/d"
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if attr == xattrMetacopy {
			name += "/a"
			if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Setxattr(name, attr, []byte("/x"), 0); err != nil {
			t.Fatal(err)
		}
		err := o.tree().Scan(func(*Change, *Source) error { return nil })
		if err == nil || !strings.HasSuffix(err.Error(), errRedirect.Error()) {
			t.Errorf("%s: %v", attr, err)
		}
	}
}

// A tree whose paths are too long for the kernel is an error, and can be
// discarded.
func TestDeepTree(t *testing.T) {
	o := newOverlay(t, "echo a >a")
	o.run(`n=$(printf '%0100d' 0); i=0; while [ $i -lt 60 ]; do mkdir $n; cd -P $n 2>/dev/null || break; i=$((i+1)); done; echo x >f; [ $i -eq 60 ]`)
	err := o.tree().Scan(func(*Change, *Source) error { return nil })
	if err == nil || !strings.HasSuffix(err.Error(), "its path is longer than 4095 bytes") {
		t.Fatalf("scan: %v", err)
	}
	if err := o.tree().Clear(); err != nil {
		t.Fatal(err)
	}
	if got := o.scan(); got != "" {
		t.Errorf("after it was discarded:\n%s", got)
	}
}

func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"a", "b", true},
		{"b", "a", false},
		{"a", "a", false},
		{"a", "a/b", true},
		{"a/b", "a", false},
		{"a/b", "a-", true},
		{"a-", "a/b", false},
		{"a/b/c", "a/c", true},
	} {
		if got := Less(tt.a, tt.b); got != tt.want {
			t.Errorf("%q before %q: %v", tt.a, tt.b, got)
		}
	}
}
