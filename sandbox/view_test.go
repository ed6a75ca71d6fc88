package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// rootsTree is a directory below one that only root may enter, with files of
// several owners, set-id programs, file capabilities and a device.
func rootsTree(t *testing.T) string {
	t.Helper()
	sandboxtest.Need(t, "root", "overlay", "seccomp", "idmap")
	dir := filepath.Join(t.TempDir(), "project")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name     string
		mode     os.FileMode
		uid, gid int
	}{
		{"mine", 0o600, 0, 0},
		{"sub/deep", 0o644, 0, 0},
		{"theirs", 0o644, 1000, 1000},
		{"secret", 0o600, 33, 33},
		{"open", 0o666, 33, 33},
		{"far", 0o644, 70000, 70000},
		{"suid", 0o755 | os.ModeSetuid, 0, 0},
		{"sgid", 0o755 | os.ModeSetgid, 0, 0},
		{"capable", 0o755, 0, 0},
	} {
		name := filepath.Join(dir, f.name)
		err := os.WriteFile(name, []byte(f.name+"\n"), 0o600)
		err = errors.Join(err, os.Chown(name, f.uid, f.gid), os.Chmod(name, f.mode))
		if err != nil {
			t.Fatal(err)
		}
	}
	// VFS_CAP_REVISION_2 with CAP_SETUID, permitted and effective.
	capability := []byte{1, 0, 0, 2, 1 << unix.CAP_SETUID, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(filepath.Join(dir, "capable"), "security.capability", capability, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// state is all that a change of anything in a directory would change.
func state(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %o %d:%d %d %d %v %v", name, st.Mode, st.Uid, st.Gid, st.Ino, st.Nlink, st.Mtim, st.Ctim)
		if d.Type().IsRegular() {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", text)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// cowOf is a job of root's on a directory, under the default policy.
func cowOf(t *testing.T, dir, script string) *Spec {
	t.Helper()
	p, _, err := policy.Load(policy.LoadOptions{Shipped: configs.FS, Files: os.DirFS("/"), Name: "default", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	spec := NewSpec(p, "sh", "-c", script)
	spec.Dir, spec.Filter, spec.Home = dir, configs.Filter, "/nonexistent"
	return spec
}

// runWith runs a job, on this host as change makes it.
func runWith(t *testing.T, spec *Spec, change func(*probe.Host)) (out string, res *Resolution) {
	t.Helper()
	sandboxtest.Leaks(t)
	host, lease, err := look(spec, spec.Question())
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	if change != nil {
		change(host)
	}
	var b bytes.Buffer
	spec.Stdout, spec.Stderr = &b, &b
	a, err := start(t.Context(), spec, host, lease)
	if err != nil {
		t.Fatal(err)
	}
	a.sup.run(t.Context())
	if a.err != nil {
		t.Fatal(a.err)
	}
	return b.String(), a.res
}

// What root gives copy-on-write belongs inside to whom it should, may be changed
// by whom it may, and stays as it is on the host; with the changes on a tmpfs, and
// where that cannot be.
func TestRootsCow(t *testing.T) {
	dir := rootsTree(t)
	before := state(t, dir)
	oldKernel := func(h *probe.Host) { h.TmpfsXattr = probe.Fact{Cause: "the kernel is older than 6.6"} }
	for _, tt := range []struct {
		name, script string
		change       func(*policy.Policy)
		want         string
	}{
		{
			"one id", "stat -c '%n %u:%g' . mine theirs; cat mine; cat secret 2>&1; echo job >mine; rm mine; rm theirs 2>&1; (echo >>open) 2>/dev/null || echo no",
			func(p *policy.Policy) { p.User.Map = policy.MapSingle },
			". 1000:1000\nmine 1000:1000\ntheirs 65534:65534\nmine\ncat: secret: Permission denied\nrm: cannot remove 'theirs': Value too large for defined data type\nno\n",
		},
		{
			"owners", "stat -c '%n %u:%g' . mine theirs secret far; cat mine secret 2>&1", nil,
			". 1000:1000\nmine 1000:1000\ntheirs 0:0\nsecret 33:33\nfar 65534:65534\nmine\ncat: secret: Permission denied\n",
		},
		{
			"owners of root's job", "stat -c '%n %u:%g' . mine theirs secret far",
			func(p *policy.Policy) { p.User.UID, p.User.GID = 0, 0 },
			". 0:0\nmine 0:0\ntheirs 1000:1000\nsecret 33:33\nfar 65534:65534\n",
		},
		{
			"changes", "echo job >>mine; chmod 640 mine; echo job >>open; (echo job >>theirs) 2>/dev/null || echo no; rm theirs secret; mv sub/deep sub/moved; ls sub; stat -c '%a %u:%g' mine open; cat mine",
			nil, "no\nmoved\n640 1000:1000\n666 33:33\nmine\njob\n",
		},
		{
			"all is removed but what belongs to nobody", "rm -rf * 2>&1; ls", nil,
			"rm: cannot remove 'far': Value too large for defined data type\nfar\n",
		},
		{
			"nothing of it is a privilege", "cp /usr/bin/id suid; chmod 6755 suid; ./suid -u; grep -c ' /work ' /proc/mounts; grep ' /work ' /proc/mounts | cut -d, -f2,3; (: <null) 2>&1 | sed 's/.*: //'", nil,
			"1000\n1\nnosuid,nodev\nPermission denied\n",
		},
		{
			"a capable job", "chown 5:6 mine && stat -c %u:%g mine; cat secret; chown 0:0 far 2>&1; touch capable; umount /work 2>/dev/null; mount -o remount,rw /work 2>/dev/null; echo x >>suid; stat -c %a suid",
			func(p *policy.Policy) {
				p.User.UID, p.User.GID, p.Seccomp = 0, 0, seccomp.Settings{Base: seccomp.BaseNone}
				p.User.Capabilities = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETFCAP", "CAP_SYS_ADMIN"}
			}, "5:6\nsecret\nchown: changing ownership of 'far': Value too large for defined data type\n755\n",
		},
	} {
		for _, kernel := range []string{"this kernel", "before 6.6"} {
			t.Run(tt.name+"/"+kernel, func(t *testing.T) {
				spec := cowOf(t, dir, tt.script)
				spec.Policy.User.Map = policy.MapKeepID
				if tt.change != nil {
					tt.change(spec.Policy)
				}
				change := oldKernel
				if kernel == "this kernel" {
					change = nil
				}
				out, res := runWith(t, spec, change)
				if out != tt.want {
					t.Errorf("it printed\n%s\nwant\n%s", out, tt.want)
				}
				if res.Plan.Find(plan.Overlay) == nil {
					t.Errorf("the plan is\n%s", res.Plan)
				}
				if after := state(t, dir); after != before {
					t.Errorf("the host's directory was\n%s\nand is\n%s", before, after)
				}
			})
		}
	}
}

// Nothing of a view is left in the sandbox but the overlay: no mount, no
// descriptor, and nothing that a process with every capability could find.
func TestViewIsOutOfReach(t *testing.T) {
	dir := rootsTree(t)
	out, _ := runWith(t, cowOf(t, dir, "grep -c view /proc/self/mountinfo; ls /proc/self/fd; cut -d' ' -f5 /proc/self/mountinfo | grep -v -e ^/usr -e ^/dev -e ^/proc -e ^/etc"), nil)
	if want := "0\n0\n1\n2\n3\n/\n/work\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

// A directory that has become another one, or a link to one, since the plan was
// made is refused.
func TestViewOfExchanged(t *testing.T) {
	dir := rootsTree(t)
	for _, kind := range []string{"directory", "link", "file"} {
		t.Run(kind, func(t *testing.T) {
			spec := cowOf(t, dir, "cat shadow")
			host, lease, err := look(spec, spec.Question())
			if err != nil {
				t.Fatal(err)
			}
			defer lease.Close()
			if err := os.Rename(dir, dir+".old"); err != nil {
				t.Fatal(err)
			}
			switch kind {
			case "directory":
				err = os.Mkdir(dir, 0o755)
			case "link":
				err = os.Symlink("/etc", dir)
			case "file":
				err = os.WriteFile(dir, nil, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := errors.Join(os.Remove(dir), os.Rename(dir+".old", dir)); err != nil {
					t.Fatal(err)
				}
			}()
			var out bytes.Buffer
			spec.Stdout, spec.Stderr = &out, &out
			a, err := start(t.Context(), spec, host, lease)
			if err != nil {
				t.Fatal(err)
			}
			a.sup.run(t.Context())
			want := dir + " was exchanged for something else while the sandbox was being set up\n  fix: run it again, and find out who changes it"
			if a.err == nil || a.err.Error() != want || out.Len() > 0 {
				t.Errorf("got %v, %q\nwant %s", a.err, out.String(), want)
			}
		})
	}
}

// A view is asked for, and refused by the kernel, before or after the sandbox is
// begun: the directory is copied.
func TestRefusedViewIsCopied(t *testing.T) {
	dir := rootsTree(t)
	host := &probe.Host{}
	for _, errno := range []syscall.Errno{unix.EINVAL, unix.EPERM, unix.ENOSYS} {
		host.Views = nil
		if !withoutView(host, dir, errno) || withoutView(host, dir, errno) {
			t.Errorf("%v: it is news once", errno)
		}
		if f := host.Views[dir]; f.OK || !f.Tried || f.Cause == "" {
			t.Errorf("%v: %+v", errno, f)
		}
	}
	out, res := runWith(t, cowOf(t, dir, "cat mine; echo job >mine; stat -c %u:%g theirs"), func(h *probe.Host) { withoutView(h, dir, unix.EINVAL) })
	if want := "mine\n1000:1000\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if res.Plan.Find(plan.Copy) == nil || res.Plan.Find(plan.Overlay) != nil || res.Plan.IDs.Map != "single" {
		t.Errorf("the plan is\n%s", res.Plan)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "mine")); err != nil || string(b) != "mine\n" {
		t.Errorf("the host's file is %q, %v", b, err)
	}
}

// What a janitor of root's that was killed has left is swept by the next run,
// whatever mapping either of them had.
func TestRootSweeps(t *testing.T) {
	dir := rootsTree(t)
	root, err := probe.UppersRoot()
	if err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(root, fmt.Sprintf("keep-id-STALE%d", os.Getpid()))
	if err := os.MkdirAll(filepath.Join(stale, "d", "upper1"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(stale) })
	if err := os.Chown(filepath.Join(stale, "d", "upper1"), 1<<20, 1<<20); err != nil {
		t.Fatal(err)
	}
	runWith(t, cowOf(t, dir, "true"), func(h *probe.Host) { h.TmpfsXattr = probe.Fact{Cause: "the kernel is older than 6.6"} })
	if _, err := os.Lstat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale directory is still there: %v", err)
	}
}
