package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// systemPaths are those that a plan with the host's root file system asks for.
var systemPaths = []string{
	"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr",
	"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ssl", "/etc/localtime",
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
}

func TestQuick(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	h, err := Quick(Question{Paths: systemPaths, SubIDs: true, Mounts: true})
	if err != nil {
		t.Fatal(err)
	}
	if !h.Kernel.AtLeast(5, 14) || h.Arch != runtime.GOARCH || h.UID != uint32(os.Getuid()) || h.GID != uint32(os.Getgid()) {
		t.Errorf("kernel %+v, %s, %d:%d", h.Kernel, h.Arch, h.UID, h.GID)
	}
	if len(h.CPUs) != runtime.NumCPU() || h.Online < len(h.CPUs) || h.MemoryTotal < 64<<20 {
		t.Errorf("CPUs %v of %d, memory %d", h.CPUs, h.Online, h.MemoryTotal)
	}
	if !slices.ContainsFunc(h.Mounts, func(m Mount) bool { return m.Point == "/proc" && m.FSType == "proc" }) {
		t.Errorf("no /proc among the mounts: %v", h.Mounts)
	}
	if len(h.Files) != len(systemPaths) || h.Files["/usr"].Type != Dir || h.Files["/usr"].Inode == 0 {
		t.Errorf("files: %v", h.Files)
	}
	if f := h.Files["/dev/null"]; f.Type != Other || f.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("/dev/null: %+v", f)
	}
	if h.UserNS != (Fact{OK: true}) || h.Cached {
		t.Errorf("not presumed: %+v, cached %v", h.UserNS, h.Cached)
	}
}

func TestParseRelease(t *testing.T) {
	for release, want := range map[string][2]int{
		"6.18.44-fc-v669": {6, 18}, "5.14.0-427.13.1.el9_4.x86_64": {5, 14}, "6.1": {6, 1}, "4.18+": {4, 18},
		"6": {6, 0}, "6.": {6, 0}, "6.x": {6, 0}, "": {0, 0}, "generic": {0, 0}, "-6.1": {0, 0},
		"99999999999999999999.1": {999999, 0}, "6.12-rc1": {6, 12},
	} {
		if k := ParseRelease(release); k.Major != want[0] || k.Minor != want[1] || k.Release != release {
			t.Errorf("%q: %+v, want %v", release, k, want)
		}
	}
}

func TestFindPasswd(t *testing.T) {
	const text = "root:x:0:0:root:/root:/bin/bash\n\n# comment\nbroken:x:1000\n:x:1000:0::/nobody:\nlong:x:10000:0::/l:\nalice:x:1000:1000:Alice,,,:/home/alice:/bin/sh\nbob:x:1000:1000::/bob:\nlast:x:7:7::/seven"
	for uid, want := range map[uint32][2]string{
		0: {"root", "/root"}, 1000: {"alice", "/home/alice"}, 10000: {"long", "/l"}, 7: {"last", "/seven"}, 1: {"", ""}, 100: {"", ""},
	} {
		if name, home := findPasswd([]byte(text), uid); name != want[0] || home != want[1] {
			t.Errorf("%d: %q %q, want %q", uid, name, home, want)
		}
	}
}

// TestPasswdLong looks behind what fits into one read.
func TestPasswdLong(t *testing.T) {
	var text []byte
	for i := range 20000 {
		text = fmt.Appendf(text, "user%d:x:%d:100::/home/user%d:/bin/sh\n", i, i, i)
	}
	file := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if name, home := passwdEntry(file, 19999); name != "user19999" || home != "/home/user19999" {
		t.Errorf("got %q %q", name, home)
	}
	if name, _ := passwdEntry(file+"/none", 1); name != "" {
		t.Errorf("a missing file has %q", name)
	}
}

func TestCountList(t *testing.T) {
	for list, want := range map[string]int{
		"0": 1, "0-3": 4, "0-1,4,6-7": 5, "": 0, "3-1": 0, "a": 0, "0-": 0, "1,": 0, "-1": 0, "0-99999999": 0,
	} {
		if n := countList(list); n != want {
			t.Errorf("%q: %d, want %d", list, n, want)
		}
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.WriteFile(dir+"/file", nil, 0o640), os.Mkdir(dir+"/closed", 0o700), os.Symlink("to/nothing", dir+"/link"),
		os.Symlink("loop", dir+"/loop"), syscall.Mkfifo(dir+"/fifo", 0o600), os.Mkdir(dir+"/closed/in", 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir+"/closed", 0o1750); err != nil {
		t.Fatal(err)
	}
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	for name, want := range map[string]File{
		"file":      {Type: Regular, Mode: 0o640, UID: uid, GID: gid},
		"closed":    {Type: Dir, Mode: 0o750, UID: uid, GID: gid},
		"link":      {Type: Symlink, Link: "to/nothing", Mode: 0o777, UID: uid, GID: gid},
		"fifo":      {Type: Other, Mode: 0o600, UID: uid, GID: gid},
		"absent":    {Type: Absent},
		"file/x":    {Type: Absent},
		"loop/x":    {Type: Unknown, Problem: "too many levels of symbolic links"},
		"nul\x00ed": {Type: Unknown, Problem: "invalid argument"},
	} {
		got := Look(dir + "/" + name)
		if want.UID == uid && want.Type != Absent && want.Type != Unknown {
			var st unix.Stat_t
			if err := unix.Lstat(dir+"/"+name, &st); err != nil {
				t.Fatal(err)
			}
			want.Device, want.Inode = st.Dev, st.Ino
		}
		got.Mode &^= 0o1000
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", name, diff)
		}
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(dir+"/closed", 0); err != nil {
			t.Fatal(err)
		}
		if got := Look(dir + "/closed/in"); got != (File{Type: Unknown, Problem: "permission denied"}) {
			t.Errorf("in a closed directory: %+v", got)
		}
		if err := os.Chmod(dir+"/closed", 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPresume(t *testing.T) {
	for _, tt := range []struct {
		release string
		abi     int
		missing []FactName
	}{
		{"6.12.1", 6, nil},
		{"6.5.13", 3, []FactName{TmpfsXattr}},
		{"5.14.0", 1, []FactName{TmpfsXattr, Landlock}},
		{"5.11.9", 0, []FactName{MountAttr, TmpfsXattr, Landlock}},
		{"5.10.0", 0, []FactName{MountAttr, Overlay, TmpfsXattr, Landlock}},
		{"unknown", 0, []FactName{MountAttr, Overlay, TmpfsXattr, Landlock}},
	} {
		h := Host{Kernel: ParseRelease(tt.release), LandlockABI: tt.abi}
		h.presume()
		var missing []FactName
		for _, name := range FactNames() {
			if f := h.Fact(name); !f.OK {
				missing = append(missing, name)
				if f.Cause == "" || f.Fix == "" {
					t.Errorf("%s: %s has no cause or fix: %+v", tt.release, name, f)
				}
			}
		}
		if diff := cmp.Diff(tt.missing, missing); diff != "" {
			t.Errorf("%s: %s", tt.release, diff)
		}
	}
	h := Host{Kernel: ParseRelease("6.1.0-40-amd64")}
	h.presume()
	if want := (Fact{Cause: "Linux has user.* attributes on tmpfs from 6.6 on, this is 6.1.0-40-amd64", Fix: "use a kernel from 6.6 on"}); h.TmpfsXattr != want {
		t.Errorf("got %+v", h.TmpfsXattr)
	}
}

func TestFactNames(t *testing.T) {
	h := &Host{}
	seen := map[*Fact]bool{}
	for _, name := range FactNames() {
		f := h.Fact(name)
		if f == nil || seen[f] {
			t.Errorf("%s has no fact of its own", name)
		}
		seen[f] = true
		if name.what() == string(name) {
			t.Errorf("%s has no words", name)
		}
	}
	if h.Fact("nonsense") != nil {
		t.Error("a fact that there is not")
	}
}

// BenchmarkQuick is on the path of every job: 60 µs at the most.
func BenchmarkQuick(b *testing.B) {
	b.Setenv("XDG_CACHE_HOME", b.TempDir())
	for b.Loop() {
		if _, err := Quick(Question{Paths: systemPaths}); err != nil {
			b.Fatal(err)
		}
	}
}
