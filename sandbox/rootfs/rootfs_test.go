package rootfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/rootfs"
)

const (
	whiteout = "\x00whiteout"
	opaque   = "\x00opaque"
	fifo     = "\x00fifo"
	dir      = "\x00dir"
	closed   = "\x00closed"
)

// stack makes layers, bottom first, of paths with their contents; "->" begins a
// link.
func stack(t *testing.T, layers ...map[string]string) []string {
	t.Helper()
	var dirs []string
	for _, l := range layers {
		root := t.TempDir()
		for name, what := range l {
			p := filepath.Join(root, name)
			err := os.MkdirAll(filepath.Dir(p), 0o755)
			if err != nil {
				t.Fatal(err)
			}
			link, isLink := strings.CutPrefix(what, "->")
			switch {
			case isLink:
				err = os.Symlink(link, p)
			case what == whiteout:
				err = unix.Mknod(p, unix.S_IFCHR, 0)
			case what == fifo:
				err = unix.Mkfifo(p, 0o644)
			case what == dir:
				err = os.MkdirAll(p, 0o755)
			case what == closed:
				err = os.WriteFile(p, nil, 0)
			case what == opaque:
				if err = os.MkdirAll(p, 0o755); err == nil {
					err = unix.Setxattr(p, "user.overlay.opaque", []byte("y"), 0)
				}
			default:
				err = os.WriteFile(p, []byte(what), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, root)
	}
	return dirs
}

func TestReadFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the host's"), 0o644); err != nil {
		t.Fatal(err)
	}
	type m = map[string]string
	for _, tt := range []struct {
		name   string
		layers []m
		want   string
		err    string // of the cause; empty for none
	}{
		{"bottom", []m{{"etc/f": "0"}, {"x": ""}}, "0", ""},
		{"top wins", []m{{"etc/f": "0"}, {"etc/f": "1"}}, "1", ""},
		{"merged directory", []m{{"etc/f": "0"}, {"etc/g": "1"}}, "0", ""},
		{"whiteout", []m{{"etc/f": "0"}, {"etc/f": whiteout}}, "", "file does not exist"},
		{"whiteout of the directory", []m{{"etc/f": "0"}, {"etc": whiteout}}, "", "file does not exist"},
		{"made again above a whiteout", []m{{"etc/f": "0"}, {"etc": whiteout}, {"etc/f": "2"}}, "2", ""},
		{"directory above a whiteout hides no more than that", []m{{"etc/f": "0"}, {"etc": whiteout}, {"etc/g": "2"}}, "", "file does not exist"},
		{"opaque", []m{{"etc/f": "0"}, {"etc": opaque}}, "", "file does not exist"},
		{"below opaque and above it", []m{{"etc/f": "0"}, {"etc": opaque}, {"etc/f": "2"}}, "2", ""},
		{"directory hides a file", []m{{"etc": "file"}, {"etc/g": "1"}}, "", "file does not exist"},
		{"file hides a directory", []m{{"etc/f": "0"}, {"etc": "file"}}, "", "not a directory"},
		{"directory hides a link", []m{{"other/f": "0", "etc": "->other"}, {"etc/g": "1"}}, "", "file does not exist"},
		{"link hides a directory", []m{{"etc/f": "0", "other/f": "o"}, {"etc": "->other"}}, "o", ""},
		{"link into another layer", []m{{"usr/lib/f": "0"}, {"etc/f": "->../usr/lib/f"}}, "0", ""},
		{"absolute link", []m{{"usr/f": "0", "etc/f": "->/usr/f"}}, "0", ""},
		{"link out of the root", []m{{"etc/f": "->" + secret}}, "", "file does not exist"},
		{"link above the root", []m{{"etc/f": "->../../../../../../../f", "f": "top"}}, "top", ""},
		{"directory link out of the root", []m{{"etc": "->" + filepath.Dir(secret), "f": "0"}}, "", "file does not exist"},
		{"magic link", []m{{"etc/f": "->/proc/self/environ"}}, "", "file does not exist"},
		{"endless link", []m{{"etc/f": "->f"}}, "", "too many levels of symbolic links"},
		{"long path", []m{{"etc/f": "->" + strings.Repeat("./", 300) + "f"}}, "", "file name too long"},
		{"queue", []m{{"etc/f": fifo}}, "", "not a regular file"},
		{"directory", []m{{"etc/f": dir}}, "", "is a directory"},
		{"at the limit", []m{{"etc/f": strings.Repeat("x", 1000)}}, strings.Repeat("x", 1000), ""},
		{"past the limit", []m{{"etc/f": strings.Repeat("x", 1001)}}, "", "longer than 1000 bytes"},
		{"nothing", []m{{}}, "", "file does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := rootfs.ReadFile(stack(t, tt.layers...), "/etc/f", 1000)
			var p *fs.PathError
			switch {
			case tt.err == "" && (err != nil || string(b) != tt.want):
				t.Errorf("%q, %v; want %q", b, err, tt.want)
			case tt.err != "" && (!errors.As(err, &p) || p.Path != "/etc/f" || p.Err.Error() != tt.err):
				t.Errorf("%q, %v; want %s", b, err, tt.err)
			}
		})
	}
	if n := openFiles(t); n > 16 {
		t.Errorf("%d descriptors are open", n)
	}
}

func TestIsDir(t *testing.T) {
	layers := stack(t, map[string]string{"a/b": dir, "f": "", "l": "->a", "gone": dir, "out": "->/etc/../../../tmp"}, map[string]string{"gone": whiteout})
	for name, want := range map[string]bool{"/": true, "/a": true, "/a/b": true, "/l/b": true, "/f": false, "/a/c": false, "/gone": false, "/out": false} {
		if got := rootfs.IsDir(layers, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

const passwd = `# comment
+nis::::::
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/bin/false
www:x:33:33::/var/www:
www:x:0:0::/second:
7:x:70:70::/seven:
broken:x:0x0:0::/:
empty:x::0::/:
minus:x:-1:0::/:
huge:x:4294967295:0::/:
nogroup:x:50:::/:
short:x:60
`

const group = `root:x:0:
www:x:33:
ssl:x:110:daemon,www
dup:x:110:www
bad:x:zz:daemon
none:x:
`

// Whatever is not plainly another user is an error, and never root.
func TestFindUser(t *testing.T) {
	layers := stack(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
	for _, tt := range []struct {
		spec string
		want rootfs.User
		err  string
	}{
		{"root", rootfs.User{Name: "root", Home: "/root"}, ""},
		{"0", rootfs.User{Name: "root", Home: "/root"}, ""},
		{"www", rootfs.User{UID: 33, GID: 33, Groups: []uint32{110}, Name: "www", Home: "/var/www"}, ""},
		{"33", rootfs.User{UID: 33, GID: 33, Groups: []uint32{110}, Name: "www", Home: "/var/www"}, ""},
		{"7", rootfs.User{UID: 70, GID: 70, Name: "7", Home: "/seven"}, ""},
		{"1000", rootfs.User{UID: 1000, GID: 1000}, ""},
		{"www:root", rootfs.User{UID: 33, Name: "www", Home: "/var/www"}, ""},
		{"1000:ssl", rootfs.User{UID: 1000, GID: 110}, ""},
		{"1000:2000", rootfs.User{UID: 1000, GID: 2000}, ""},
		{"nobody", rootfs.User{}, `user "nobody": there is none of that name in the image's /etc/passwd`},
		{"www:nobody", rootfs.User{}, `group "nobody": there is none of that name in the image's /etc/group`},
		{"broken", rootfs.User{}, `user "broken": id "0x0" is not a number in the image's /etc/passwd`},
		{"empty", rootfs.User{}, `user "empty": id "" is none from 0 to 4294967294 in the image's /etc/passwd`},
		{"minus", rootfs.User{}, `user "minus": id "-1" is not a number in the image's /etc/passwd`},
		{"huge", rootfs.User{}, `user "huge": id "4294967295" is none from 0 to 4294967294 in the image's /etc/passwd`},
		{"nogroup", rootfs.User{}, `user "nogroup": group id "" is none from 0 to 4294967294 in the image's /etc/passwd`},
		{"short", rootfs.User{}, `user "short": there is none of that name in the image's /etc/passwd`},
		{"+nis", rootfs.User{}, `user "+nis": there is none of that name in the image's /etc/passwd`},
		{"+0", rootfs.User{}, `user "+0": there is none of that name in the image's /etc/passwd`},
		{"-1", rootfs.User{}, `user "-1": there is none of that name in the image's /etc/passwd`},
		{" 0", rootfs.User{}, `user " 0": there is none of that name in the image's /etc/passwd`},
		{"0x10", rootfs.User{}, `user "0x10": there is none of that name in the image's /etc/passwd`},
		{"4294967295", rootfs.User{}, `user "4294967295": there is none of that name in the image's /etc/passwd`},
		{"4294967296", rootfs.User{}, `user "4294967296": there is none of that name in the image's /etc/passwd`},
		{"daemon", rootfs.User{}, `group "bad": id "zz" is not a number in the image's /etc/group`},
		{"", rootfs.User{}, `user "": it is not like user or user:group`},
		{":0", rootfs.User{}, `user ":0": it is not like user or user:group`},
		{"www:", rootfs.User{}, `user "www:": it is not like user or user:group`},
		{"www:33:0", rootfs.User{}, `user "www:33:0": it is not like user or user:group`},
		{"root\n", rootfs.User{}, `user "root\n": there is none of that name in the image's /etc/passwd`},
	} {
		u, err := rootfs.FindUser(layers, tt.spec)
		switch {
		case tt.err != "":
			if err == nil || err.Error() != tt.err {
				t.Errorf("%q: %+v, %v\nwant %s", tt.spec, u, err, tt.err)
			}
		case err != nil:
			t.Errorf("%q: %v", tt.spec, err)
		case u.UID != tt.want.UID || u.GID != tt.want.GID || u.Name != tt.want.Name || u.Home != tt.want.Home || !slices.Equal(u.Groups, tt.want.Groups):
			t.Errorf("%q: %+v, want %+v", tt.spec, *u, tt.want)
		}
	}
}

// A database that is there and cannot be read is no missing one.
func TestFindUserUnreadable(t *testing.T) {
	for _, tt := range []struct{ what, err string }{
		{fifo, "the image's users cannot be looked up: read /etc/passwd: not a regular file"},
		{strings.Repeat("x", 1<<20+1), "the image's users cannot be looked up: read /etc/passwd: longer than 1048576 bytes"},
	} {
		if _, err := rootfs.FindUser(stack(t, map[string]string{"etc/passwd": tt.what}), "1000"); err == nil || err.Error() != tt.err {
			t.Errorf("%v, want %s", err, tt.err)
		}
	}
	if os.Getuid() != 0 {
		const want = "the image's users cannot be looked up: read /etc/passwd: permission denied"
		if _, err := rootfs.FindUser(stack(t, map[string]string{"etc/passwd": closed}), "1000"); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	u, err := rootfs.FindUser(stack(t, map[string]string{}), "1000")
	if err != nil || u.UID != 1000 || u.GID != 1000 {
		t.Errorf("no database: %+v, %v", u, err)
	}
}
