package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var then = time.Unix(1_600_000_000, 0)

// file, dir and link make entries owned by who runs the test.
func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640, Size: int64(len(content))}, content}
}

func dir(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o750}, ""}
}

func symlink(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}, ""}
}

func hardlink(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}, ""}
}

type entry struct {
	hdr     tar.Header
	content string
}

func archiveOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.hdr.Uid, e.hdr.Gid = os.Getuid(), os.Getgid()
		e.hdr.ModTime = then
		if err := w.WriteHeader(&e.hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// jail is a tree with a file beside it that nothing may touch.
func jail(t testing.TB) (tree string, untouched func()) {
	t.Helper()
	base := t.TempDir()
	tree = filepath.Join(base, "tree")
	outside := filepath.Join(base, "outside")
	if err := errors.Join(os.Mkdir(tree, 0o755), os.WriteFile(outside, []byte("as it was"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return tree, func() {
		t.Helper()
		entries, err := os.ReadDir(base)
		if b, rerr := os.ReadFile(outside); err != nil || rerr != nil || string(b) != "as it was" || len(entries) != 2 {
			t.Errorf("something outside the tree changed: %q %v %v %v", b, entries, err, rerr)
		}
	}
}

func TestExtract(t *testing.T) {
	tree, untouched := jail(t)
	defer untouched()
	b := archiveOf(
		t, dir("./"), dir("etc/"), file("etc/motd", "hi\n"), hardlink("etc/again", "etc/motd"),
		symlink("etc/link", "/etc/motd"), file("odd\nname", "x"), file("implicit/parent", "p"),
		entry{tar.Header{Typeflag: tar.TypeReg, Name: "setuid", Mode: 0o4755}, ""},
		entry{tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o600}, ""},
		entry{tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, ""},
		entry{tar.Header{Typeflag: tar.TypeReg, Name: "attr", Mode: 0o600, PAXRecords: map[string]string{
			paxXattr + "user.kept": "v", paxXattr + "security.capability": "c", paxXattr + "user.overlay.redirect": "/", paxXattr + "trusted.x": "t",
		}}, ""},
	)
	report, err := Extract(bytes.NewReader(b), tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Report{Files: 11, Bytes: 5, Notes: []string{
		`device nodes were left out: a sandbox has its own /dev ("null")`,
		`file capabilities (security.capability) were left out: a sandbox sets no_new_privs, which makes them void ("attr")`,
		`attributes "trusted.x" were left out: only user.* can be kept ("attr")`,
		`attributes of overlayfs (user.overlay.*) were left out ("attr")`,
		`directories that the layer does not describe were made with mode 0755 (1)`,
	}}
	if d := cmp.Diff(want, report); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	stat := func(name string) unix.Stat_t {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(tree, name), &st); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		return st
	}
	if a, b := stat("etc/motd"), stat("etc/again"); a.Ino != b.Ino || a.Nlink != 2 || a.Mode != unix.S_IFREG|0o640 || a.Mtim.Sec != then.Unix() {
		t.Errorf("hard link: %+v %+v", a, b)
	}
	if st := stat("etc"); st.Mode != unix.S_IFDIR|0o750 || st.Mtim.Sec != then.Unix() {
		t.Errorf("directory: mode %o, time %d", st.Mode, st.Mtim.Sec)
	}
	if st := stat("."); st.Mode != unix.S_IFDIR|0o750 {
		t.Errorf("root: mode %o", st.Mode)
	}
	if st := stat("implicit"); st.Mode != unix.S_IFDIR|0o755 {
		t.Errorf("implicit directory: mode %o", st.Mode)
	}
	if st := stat("setuid"); st.Mode != unix.S_IFREG|0o4755 {
		t.Errorf("set-user-id file: mode %o", st.Mode)
	}
	if st := stat("fifo"); st.Mode != unix.S_IFIFO|0o600 {
		t.Errorf("fifo: mode %o", st.Mode)
	}
	if to, err := os.Readlink(filepath.Join(tree, "etc/link")); err != nil || to != "/etc/motd" {
		t.Errorf("link to %q, %v", to, err)
	}
	if _, err := os.Lstat(filepath.Join(tree, "odd\nname")); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 100)
	n, err := unix.Listxattr(filepath.Join(tree, "attr"), buf)
	if err != nil || string(buf[:n]) != "user.kept\x00" {
		t.Errorf("attributes %q, %v", buf[:max(n, 0)], err)
	}
}

func TestWhiteouts(t *testing.T) {
	tree, untouched := jail(t)
	defer untouched()
	b := archiveOf(
		t, dir("d"), file("d/.wh.gone", ""), dir("opaque"), file("opaque/"+opaqueMarker, ""), file("opaque/new", "n"),
		file(".wh.anew", ""), dir("anew"), // whiteout first
		dir("later"), file(".wh.later", ""), // directory first
		file("kept", "k"), file(".wh.kept", ""), // of the same layer: hides what is below anyway
		file(".wh..wh.plnk", ""),
	)
	report, err := Extract(bytes.NewReader(b), tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{`bookkeeping of aufs was left out (".wh..wh.plnk")`}; !cmp.Equal(report.Notes, want) {
		t.Errorf("notes %q", report.Notes)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(tree, "d/gone"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("whiteout: %v, mode %o, device %d", err, st.Mode, st.Rdev)
	}
	for name, want := range map[string]string{"opaque": "y", "anew": "y", "later": "y", "d": "", "kept": ""} {
		buf := make([]byte, 10)
		n, _ := unix.Lgetxattr(filepath.Join(tree, name), opaqueXattr, buf)
		if got := string(buf[:max(n, 0)]); got != want {
			t.Errorf("%s: %s=%q, want %q", name, opaqueXattr, got, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(tree, "kept")); err != nil || string(b) != "k" {
		t.Errorf("kept: %q %v", b, err)
	}
}

// TestHostile: each of these would reach outside if a name were taken at its
// word.
func TestHostile(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entries []entry
		want    string // of the error; "" for none
	}{
		{"dotdot", []entry{file("../outside", "evil")}, `"../outside": a name with .. leads out of the layer`},
		{"inner dotdot", []entry{file("a/../../outside", "evil")}, `"a/../../outside": a name with .. leads out of the layer`},
		{"absolute", []entry{file("/etc/motd", "hi")}, ""},
		{"through a link", []entry{symlink("up", ".."), file("up/outside", "evil")}, ""},
		{"through an absolute link", []entry{symlink("root", "/"), file("root/tmp/brig-test-evil", "evil")}, ""},
		{"through a dangling link", []entry{symlink("t", "/tmp"), symlink("u", "../../t"), file("u/brig-test-evil", "evil")}, ""},
		{"over a link", []entry{symlink("x", "../outside"), file("x", "evil")}, ""},
		{"hard link out", []entry{hardlink("x", "../outside")}, `"x": hard link to "../outside": a name with .. leads out of the layer`},
		{"hard link through a link", []entry{symlink("up", ".."), hardlink("x", "up/outside")}, `"x": hard link to "up/outside", which this layer does not have as a file: no such file or directory`},
		{"whiteout out", []entry{file(".wh...", "")}, `".wh...": a whiteout without a name`},
		{"link loop", []entry{symlink("a", "b"), symlink("b", "a"), file("a/x", "")}, `"a/x": opening its directory: too many levels of symbolic links`},
		{"below a file", []entry{file("f", ""), file("f/x", "")}, `"f/x": opening its directory: not a directory`},
		{"directory link swap", []entry{dir("d"), file("d/f", "1"), symlink("d", ".."), file("d/outside", "evil")}, ""},
		{"hard link to a directory", []entry{dir("d"), hardlink("x", "d")}, `"x": hard link to "d", which this layer does not have as a file: is a directory`},
		{"long name", []entry{file(strings.Repeat("n", 256), "")}, `"` + strings.Repeat("n", 200) + `…": making the file: file name too long`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree, untouched := jail(t)
			defer untouched()
			_, err := Extract(bytes.NewReader(archiveOf(t, tt.entries...)), tree, Options{})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("error %q, want %q", got, tt.want)
			}
			if _, err := os.Lstat("/tmp/brig-test-evil"); err == nil {
				t.Error("a file appeared on the host")
			}
		})
	}
}

func TestLimits(t *testing.T) {
	big := entry{tar.Header{Typeflag: tar.TypeReg, Name: "big", Size: 1 << 20}, strings.Repeat("x", 1<<20)}
	for _, tt := range []struct {
		entry  entry
		limits Limits
		want   string
	}{
		{big, Limits{Bytes: 1<<20 - 1}, `"big": limit: the files of the layer have more than 1048575 bytes`},
		{big, Limits{Bytes: 1 << 20, Files: 1, Depth: 1}, ""},
		{dir("a/b/c"), Limits{Depth: 2}, `"a/b/c": limit: a path of 3 names, allowed are 2`},
	} {
		_, err := Extract(bytes.NewReader(archiveOf(t, tt.entry)), t.TempDir(), Options{Limits: tt.limits})
		if got := errorText(err); got != tt.want || tt.want != "" && !errors.Is(err, ErrLimit) {
			t.Errorf("error %q, want %q", got, tt.want)
		}
	}
	_, err := Extract(bytes.NewReader(archiveOf(t, dir("a"), dir("b"))), t.TempDir(), Options{Limits: Limits{Files: 1}})
	if got, want := errorText(err), `"b": limit: more than 1 entries`; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTruncated(t *testing.T) {
	b := archiveOf(t, file("f", strings.Repeat("x", 5000)))
	for _, n := range []int{100, 512, 600, 5000} {
		_, err := Extract(bytes.NewReader(b[:n]), t.TempDir(), Options{})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// TestLinkToLower: var/run leads to /run, which only a layer below has.
func TestLinkToLower(t *testing.T) {
	tree, untouched := jail(t)
	defer untouched()
	b := archiveOf(t, dir("var"), symlink("var/run", "../run"), file("var/run/x/pid", "1"))
	if _, err := Extract(bytes.NewReader(b), tree, Options{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(tree, "run/x/pid")); err != nil || string(b) != "1" {
		t.Errorf("run/x/pid: %q %v", b, err)
	}
}

// TestReplace: a later entry of the same name replaces what is there.
func TestReplace(t *testing.T) {
	tree, untouched := jail(t)
	defer untouched()
	b := archiveOf(t, dir("d"), dir("d/e"), file("d/e/f", "1"), file("d", "now a file"), file("g", "1"), dir("g"), file("h", "1"), file("h", "2"))
	if _, err := Extract(bytes.NewReader(b), tree, Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"d": "now a file", "h": "2"} {
		if b, err := os.ReadFile(filepath.Join(tree, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	if info, err := os.Lstat(filepath.Join(tree, "g")); err != nil || !info.IsDir() {
		t.Errorf("g: %v %v", info, err)
	}
}

func TestEmpty(t *testing.T) {
	tree, untouched := jail(t)
	defer untouched()
	b := archiveOf(t, dir("d/e"), file("d/e/f", "1"), symlink("d/out", "../../outside"), entry{tar.Header{Typeflag: tar.TypeDir, Name: "closed", Mode: 0}, ""}, file("x", ""))
	if _, err := Extract(bytes.NewReader(b), tree, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := Empty(tree); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(tree); err != nil || len(entries) > 0 {
		t.Errorf("left: %v %v", entries, err)
	}
}

// TestEmptyDeep: a job can make a tree that is deeper than there are descriptors,
// and longer than any path.
func TestEmptyDeep(t *testing.T) {
	top := t.TempDir()
	const levels = 3000
	fd, err := unix.Open(top, unix.O_PATH|unix.O_DIRECTORY, 0)
	for range levels {
		if err == nil {
			err = unix.Mkdirat(fd, "directory", 0o700)
		}
		sub := -1
		if err == nil {
			sub, err = unix.Openat(fd, "directory", unix.O_PATH|unix.O_DIRECTORY, 0)
		}
		unix.Close(fd)
		fd = sub
	}
	unix.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: was.Max}); err != nil { //nolint:forbidigo // this process is the test's own
		t.Fatal(err)
	}
	err = Empty(top)
	if rerr := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); rerr != nil { //nolint:forbidigo // as above
		t.Fatal(rerr)
	}
	if entries, rerr := os.ReadDir(top); err != nil || rerr != nil || len(entries) > 0 {
		t.Errorf("left: %v %v %v", entries, err, rerr)
	}
}

// FuzzExtract: whatever an archive says, nothing beside the tree changes.
func FuzzExtract(f *testing.F) {
	f.Add(archiveOf(f, dir("d"), file("d/f", "x"), symlink("l", ".."), file("l/outside", "evil"), hardlink("h", "d/f")))
	f.Add(archiveOf(f, file("a/.wh.b", ""), file("a/"+opaqueMarker, ""), file("../outside", "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, untouched := jail(t)
		defer untouched()
		_, _ = Extract(bytes.NewReader(b), tree, Options{Squash: true, Limits: Limits{Bytes: 1 << 20, Files: 100, Depth: 16}})
	})
}
