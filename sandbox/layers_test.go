package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// layerTree says what a layer holds, by path: a text is a file's, nil a
// directory, and the others are what their types say.
type layerTree map[string]any

type (
	whiteout struct{} // a character device 0:0
	opaque   struct{} // a directory with user.overlay.opaque
	link     string   // a symbolic link
)

// makeLayer unpacks a layer in the form that overlayfs with userxattr has.
func makeLayer(t *testing.T, tree layerTree) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, what := range tree {
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		if err == nil {
			switch what := what.(type) {
			case string:
				err = os.WriteFile(p, []byte(what), 0o644)
			case whiteout:
				err = unix.Mknod(p, unix.S_IFCHR, 0)
			case link:
				err = os.Symlink(string(what), p)
			case opaque:
				if err = os.MkdirAll(p, 0o755); err == nil {
					err = unix.Setxattr(p, "user.overlay.opaque", []byte("y"), 0)
				}
			case nil:
				err = os.MkdirAll(p, 0o755)
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return dir
}

// programs is the bottom layer of the tests: a place for the host's programs.
func programs(t *testing.T) string {
	t.Helper()
	tree := layerTree{"usr": nil, "etc/passwd": "root:x:0:0::/:/bin/sh\n"}
	for _, dir := range systemDirs[1:] {
		if to, err := os.Readlink(dir); err == nil {
			tree[dir[1:]] = link(to)
		}
	}
	return makeLayer(t, tree)
}

// layered is a job under the strict policy on a root of the given layers above
// that of programs.
func layered(t *testing.T, script string, layers ...string) *Spec {
	t.Helper()
	sandboxtest.Need(t, "userns", "overlay", "unprivileged", "seccomp")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	p, _, err := policy.Load(policy.LoadOptions{
		Shipped: configs.FS, Files: os.DirFS("/"), Name: "default", Dir: dir,
		Overrides: []policy.Override{{Key: "limits.scratch", Value: "16m", Origin: "test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Filesystem.Root = "image:test"
	p.Filesystem.Mounts = []policy.Mount{{Type: policy.Bind, Source: "/usr", Target: "/usr", Access: policy.ReadOnly}}
	spec := NewSpec(p, "sh", "-c", script)
	spec.Dir, spec.Filter = dir, configs.Filter
	spec.Layers, spec.LayerMap = append([]string{programs(t)}, layers...), policy.MapSingle
	return spec
}

// sum describes a layer to the byte: names, types, modes, owners, times,
// attributes and contents.
func sum(t *testing.T, dirs []string) string {
	t.Helper()
	h := sha256.New()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(p, &st); err != nil {
				return err
			}
			fmt.Fprintln(h, p, st.Ino, st.Mode, st.Uid, st.Gid, st.Rdev, st.Size, st.Nlink, st.Mtim, st.Ctim)
			if d.Type().IsRegular() {
				b, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				h.Write(b)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// onBoth runs a test with the uppers of overlays on the tmpfs and, as kernels
// before 6.6 need it, in a directory.
func onBoth(t *testing.T, test func(t *testing.T, host func(*testing.T, *Spec) *probe.Host)) {
	t.Helper()
	t.Run("tmpfs", func(t *testing.T) {
		sandboxtest.Need(t, "tmpfs-xattr")
		test(t, func(t *testing.T, spec *Spec) *probe.Host {
			t.Helper()
			host, err := probe.Quick(spec.Question())
			if err != nil {
				t.Fatal(err)
			}
			return host
		})
	})
	t.Run("directory", func(t *testing.T) { test(t, oldHost) })
}

// What the layers show through the merged root, and what a job's changes to it
// do: the lower layers stay as they are, to the byte.
func TestOverlay(t *testing.T) {
	tests := []struct {
		name   string
		script string
		want   string
	}{
		{"reads fall through", "cat /a /b /d/one /d/two; ls /d", "lower a\nupper b\none\ntwo\none\ntwo\n"},
		{"a lower whiteout hides", "cat /gone 2>&1; ls /d2", "cat: /gone: No such file or directory\nkept\n"},
		{"a lower opaque directory hides", "ls /opaque", "new\n"},
		{"the first write copies up", "stat -c %i /a >/tmp/i; echo more >>/a; cat /a; chmod 600 /d/one; stat -c %a /d/one", "lower a\nmore\n600\n"},
		{"an open file sees the copy", "exec 3</a; echo new >/a; cat <&3; cat /a", "new\nnew\n"},
		{"deleted", "rm /a /b; cat /a 2>&1; ls / | grep -c '^[ab]$'", "cat: /a: No such file or directory\n0\n"},
		{"deleted and made again is opaque", "rm -r /d; mkdir /d; ls -A /d; echo x >/d/three; ls /d", "three\n"},
		{"deleted and made again as a file", "rm -r /d; echo file >/d; cat /d", "file\n"},
		// rename(2) of a directory that is not purely of the upper gives EXDEV
		// without redirect_dir, which userxattr mounts have not; mv copies then.
		{"a lower directory is renamed", "mv /d /moved && ls /moved /d 2>&1", "ls: cannot access '/d': No such file or directory\n/moved:\none\ntwo\n"},
		{"a lower file is renamed", "mv /a /renamed && cat /renamed && mv /renamed /d/one && cat /d/one", "lower a\nlower a\n"},
		{"a lower file is linked", "ln /a /linked && echo x >>/a && cat /linked", "lower a\nx\n"},
		{"the init layer is brig's", "cat /etc/hostname; readlink /etc/mtab; echo 10.0.0.1 db >>/etc/hosts && tail -n1 /etc/hosts; cat /etc/passwd", "brig\n../proc/self/mounts\n10.0.0.1 db\nroot:x:0:0::/:/bin/sh\n"},
	}
	onBoth(t, func(t *testing.T, host func(*testing.T, *Spec) *probe.Host) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				lower := layerTree{
					"a": "lower a\n", "b": "lower b\n", "gone": "gone\n", "d/one": "one\n", "d2/gone": "gone\n", "d2/kept": "kept\n",
					"opaque/old": "old\n",
				}
				upper := layerTree{"b": "upper b\n", "gone": whiteout{}, "d/two": "two\n", "d2/gone": whiteout{}, "opaque": opaque{}, "opaque/new": "new\n"}
				spec := layered(t, tt.script, makeLayer(t, lower), makeLayer(t, upper))
				before := sum(t, spec.Layers)
				_, out := runOn(t, spec, host(t, spec))
				if out != tt.want {
					t.Errorf("printed %q, want %q", out, tt.want)
				}
				if after := sum(t, spec.Layers); after != before {
					t.Error("the layers have changed")
				}
				if left := uppersLeft(t); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	})
}

// rename(2) itself, which mv hides.
func TestOverlayRenameIsEXDEV(t *testing.T) {
	sandboxtest.Need(t, "python3")
	spec := layered(t, `python3 -c '
import os
try: os.rename("/d", "/moved")
except OSError as e: print(e.errno)
os.mkdir("/own"); os.rename("/own", "/own2"); print(os.path.isdir("/own2"))'`, makeLayer(t, layerTree{"d/one": "1"}))
	if _, out := runOn(t, spec, quickHost(t, spec)); out != fmt.Sprintf("%d\nTrue\n", unix.EXDEV) {
		t.Errorf("printed %q", out)
	}
}

func quickHost(t *testing.T, spec *Spec) *probe.Host {
	t.Helper()
	host, err := probe.Quick(spec.Question())
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// What a job's changes are in the upper itself: copies, whiteouts and opaque
// directories, as the OCI image specification's layers and overlayfs have them.
func TestUpperHoldsChanges(t *testing.T) {
	spec := layered(t, "echo more >>/a; rm /b; rm -r /d; mkdir /d; echo x >/d/x; echo done; read _",
		makeLayer(t, layerTree{"a": "lower a\n", "b": "lower b\n", "d/one": "one\n", "untouched": "u"}))
	in, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer stop.Close()
	out, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	spec.Stdin, spec.Stdout = in, end
	a, err := start(t.Context(), spec, oldHost(t, spec), nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); a.sup.run(t.Context()); end.Close() }()
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	upper := filepath.Join(a.upper.data(), "upper1")
	if b, err := os.ReadFile(filepath.Join(upper, "a")); err != nil || string(b) != "lower a\nmore\n" {
		t.Errorf("the copy is %q, %v", b, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(upper, "b"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("no whiteout: mode %o device %d, %v", st.Mode, st.Rdev, err)
	}
	value := make([]byte, 8)
	if n, err := unix.Getxattr(filepath.Join(upper, "d"), "user.overlay.opaque", value); err != nil || string(value[:n]) != "y" {
		t.Errorf("not opaque: %q, %v", value[:max(n, 0)], err)
	}
	if _, err := os.Lstat(filepath.Join(upper, "untouched")); err == nil {
		t.Error("what was not changed is in the upper")
	}
	for _, name := range []string{"etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"} {
		if _, err := os.Lstat(filepath.Join(upper, name)); err == nil {
			t.Errorf("the init layer's %s is in the upper", name)
		}
	}
	if _, err := stop.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	<-done
	if a.err != nil || a.result.Outcome != OutcomeOK {
		t.Errorf("%v %+v", a.err, a.result)
	}
}

// A read-only root has no upper at all, unless something must be made in it.
func TestOverlayWithoutUpper(t *testing.T) {
	for _, tt := range []struct {
		name  string
		usr   bool // the host's programs are mounted where a mount point may be missing
		upper string
	}{{"sealed", false, "0\n"}, {"with a mount point", true, "1\n"}} {
		t.Run(tt.name, func(t *testing.T) {
			spec := layered(t, `touch /a 2>&1; rm /a 2>&1; touch /new 2>&1; cat /a; touch /tmp2/x && echo ok; grep -c '^overlay / .*upperdir' /proc/mounts`,
				makeLayer(t, layerTree{"a": "lower\n"}))
			p := spec.Policy
			p.Filesystem.ReadOnly = true
			p.Filesystem.Mounts = append(p.Filesystem.Mounts, policy.Mount{Type: policy.Tmpfs, Target: "/tmp2"})
			if !tt.usr {
				// The programs are the bottom layer itself.
				p.Filesystem.Mounts = p.Filesystem.Mounts[1:]
				spec.Layers[0] = "/usr"
				spec.Layers[1] = makeLayer(t, layerTree{"usr": link("."), "a": "lower\n"})
			}
			_, out := runOn(t, spec, quickHost(t, spec))
			want := "touch: cannot touch '/a': Read-only file system\nrm: cannot remove '/a': Read-only file system\n" +
				"touch: cannot touch '/new': Read-only file system\nlower\nok\n" + tt.upper
			if out != want {
				t.Errorf("printed %q, want %q", out, want)
			}
		})
	}
}

// Layers by the hundred: their paths would be ten times what a mount takes as
// options.
func TestManyLayers(t *testing.T) {
	for _, n := range []int{2, 60, 200, plan.MaxLayers} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			spec := layered(t, "cat /count; ls /d | wc -l; echo x >/count; rm -r /d && mkdir /d && ls /d")
			// The bottom is the layer of programs.
			base := filepath.Join(t.TempDir(), strings.Repeat("long-name-", 20))
			for i := 2; i <= n; i++ {
				dir := filepath.Join(base, strconv.Itoa(i))
				if err := os.MkdirAll(filepath.Join(dir, "d"), 0o755); err != nil {
					t.Fatal(err)
				}
				for name, text := range map[string]string{"count": strconv.Itoa(i) + "\n", fmt.Sprintf("d/%d", i): ""} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				spec.Layers = append(spec.Layers, dir)
			}
			_, out := runOn(t, spec, quickHost(t, spec))
			if want := fmt.Sprintf("%d\n%d\n", n, n-1); out != want {
				t.Errorf("printed %q, want %q", out, want)
			}
		})
	}
}

// The host's resolv.conf is in the init layer, whatever the image has there, and
// not among what the job changes.
func TestLayersOnHostNetwork(t *testing.T) {
	want, err := os.ReadFile(resolvConf)
	if err != nil {
		sandboxtest.Lacks(t, "resolv.conf", err)
	}
	for name, tree := range map[string]layerTree{"none": {}, "file": {"etc/resolv.conf": "image\n"}, "link": {"etc/resolv.conf": link("/run/x")}} {
		spec := layered(t, "cat /etc/resolv.conf; echo more >>/etc/resolv.conf", makeLayer(t, tree))
		spec.Policy.Network.Mode = policy.NetworkHost
		if _, out := runOn(t, spec, quickHost(t, spec)); out != string(want) {
			t.Errorf("%s: printed %q, want %q", name, out, want)
		}
	}
}

// A layer that an image has twice counts where it is uppermost.
func TestLayerTwice(t *testing.T) {
	a, b := makeLayer(t, layerTree{"f": "a\n"}), makeLayer(t, layerTree{"f": "b\n", "g": "g\n"})
	spec := layered(t, "cat /f /g", a, b, a)
	if _, out := runOn(t, spec, quickHost(t, spec)); out != "a\ng\n" {
		t.Errorf("printed %q", out)
	}
}
