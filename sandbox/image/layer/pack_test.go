package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// entries lists an archive: one line for each entry.
func entries(t *testing.T, b []byte) string {
	t.Helper()
	var out strings.Builder
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%c %04o %s", hdr.Typeflag, hdr.Mode, hdr.Name)
		if hdr.Linkname != "" {
			fmt.Fprintf(&out, " -> %s", hdr.Linkname)
		}
		if len(content) > 0 && len(content) < 20 {
			fmt.Fprintf(&out, " %q", content)
		}
		for _, k := range []string{"user.a", "user.overlay.opaque", "user.overlay.origin"} {
			if v, ok := hdr.PAXRecords[paxXattr+k]; ok {
				fmt.Fprintf(&out, " %s=%s", k, v)
			}
		}
		if hdr.PAXRecords[paxHoles] != "" {
			out.WriteString(" holes")
		}
		out.WriteString("\n")
	}
}

// layers makes a lower layer and an upper that changes it in every way.
func layers(t *testing.T) (lower, upper string) {
	t.Helper()
	lower, upper = t.TempDir(), t.TempDir()
	file := func(dir, name, content string, mode os.FileMode) {
		t.Helper()
		full := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		if err == nil {
			err = os.WriteFile(full, []byte(content), mode)
		}
		if err == nil {
			err = unix.Chmod(full, uint32(mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	white := func(name string) { must(unix.Mknod(filepath.Join(upper, name), unix.S_IFCHR, 0)) }
	attr := func(name, key, value string) {
		must(unix.Setxattr(filepath.Join(upper, name), key, []byte(value), 0))
	}
	for name, content := range map[string]string{
		"etc/hosts": "image's", "etc/motd": "old", "d/gone": "x", "d/kept": "kept", "remade/old": "x", "became/file": "x", "dev/x": "x", "l": "lower",
	} {
		file(lower, name, content, 0o644)
	}
	must(os.Chmod(filepath.Join(lower, "etc"), 0o750))
	file(upper, "etc/hosts", "job's", 0o644)
	file(upper, "etc/motd", "new", 0o4755)
	must(os.Chmod(filepath.Join(upper, "etc"), 0o755))
	must(os.MkdirAll(filepath.Join(upper, "d"), 0o755))
	white("d/gone")
	file(upper, "remade/new", "new", 0o600)
	attr("remade", "user.overlay.opaque", "y")
	attr("remade", "user.a", "b")
	attr("remade/new", "user.overlay.origin", "zz")
	file(upper, "became", "file", 0o644)
	file(upper, "dev/y", "x", 0o644)
	must(os.Link(filepath.Join(upper, "became"), filepath.Join(upper, "link")))
	must(os.Symlink("../../../etc/passwd", filepath.Join(upper, "s")))
	must(os.Truncate(filepath.Join(upper, "remade/new"), 3))
	f, err := os.CreateTemp(upper, "holes")
	must(err)
	must(f.Truncate(1 << 20))
	must(f.Close())
	must(os.Chmod(f.Name(), 0o600))
	must(os.Rename(f.Name(), filepath.Join(upper, "holes")))
	return lower, upper
}

var owned = []string{"/etc", "/etc/hosts", "/dev"}

func TestPackChanges(t *testing.T) {
	lower, upper := layers(t)
	var b, again bytes.Buffer
	r, err := Pack(&b, []string{lower, upper}, PackOptions{Changes: true, Upper: true, Own: owned})
	if err != nil {
		t.Fatal(err)
	}
	const want = `0 0644 became "file"
5 0755 d/
0 0000 d/.wh.gone
5 0750 etc/
0 4755 etc/motd "new"
0 0600 holes holes
1 0644 link -> became
5 0755 remade/ user.a=b
0 0000 remade/.wh..wh..opq
0 0600 remade/new "new"
2 0777 s -> ../../../etc/passwd
`
	if got := entries(t, b.Bytes()); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if r.Files != 11 || r.Bytes != 4+3+1<<20+3 {
		t.Errorf("report %+v", r)
	}
	if _, err := Pack(&again, []string{lower, upper}, PackOptions{Changes: true, Upper: true, Own: owned}); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("another archive the second time: %v", err)
	}
	// What it makes is a layer like any other.
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(&b, dir, Options{Squash: true}); err != nil {
		t.Fatal(err)
	}
	var merged, fromUpper bytes.Buffer
	if _, err := Pack(&merged, []string{lower, dir}, PackOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(&fromUpper, []string{lower, upper}, PackOptions{Upper: true, Own: owned}); err != nil {
		t.Fatal(err)
	}
	if m, u := entries(t, merged.Bytes()), entries(t, fromUpper.Bytes()); m != u {
		t.Errorf("the layer shows:\n%s\nthe upper:\n%s", m, u)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "holes"), &st); err != nil || st.Blocks != 0 || st.Size != 1<<20 {
		t.Errorf("a file of holes became one of %d blocks, size %d: %v", st.Blocks, st.Size, err)
	}
}

func TestPackMerged(t *testing.T) {
	lower, upper := layers(t)
	var b bytes.Buffer
	if _, err := Pack(&b, []string{lower, upper}, PackOptions{Upper: true, Own: owned}); err != nil {
		t.Fatal(err)
	}
	const want = `0 0644 became "file"
5 0755 d/
0 0644 d/kept "kept"
5 0755 dev/
0 0644 dev/x "x"
5 0750 etc/
0 0644 etc/hosts "image's"
0 4755 etc/motd "new"
0 0600 holes
0 0644 l "lower"
1 0644 link -> became
5 0755 remade/ user.a=b
0 0600 remade/new "new"
2 0777 s -> ../../../etc/passwd
`
	if got := entries(t, b.Bytes()); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestPackRefuses: what would mean something else in a layer is no part of one.
func TestPackRefuses(t *testing.T) {
	upper := t.TempDir()
	if err := os.WriteFile(filepath.Join(upper, ".wh.etc"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Pack(io.Discard, []string{upper}, PackOptions{Changes: true})
	const want = `".wh.etc": a name that begins with .wh. would mean a deletion in a layer` + "\n  fix: rename or remove the file in the container"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	var b bytes.Buffer
	if _, err := Pack(&b, []string{upper}, PackOptions{}); err != nil || entries(t, b.Bytes()) != "0 0600 .wh.etc\n" {
		t.Errorf("a plain archive: %v", err)
	}
	deep := t.TempDir()
	at := deep
	for range maxPackDepth + 1 {
		at = filepath.Join(at, "d")
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(io.Discard, []string{deep}, PackOptions{}); err == nil || !strings.HasSuffix(err.Error(), "directories are nested more than 256 deep") {
		t.Errorf("%v", err)
	}
}
