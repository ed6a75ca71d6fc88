package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

func copyOf(source string) *plan.Op { return &plan.Op{Kind: plan.Copy, Source: source, Target: "/x"} }

// tree makes files in a fresh directory: a text ending in / is a directory,
// one starting with -> a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := openDir(t)
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if link, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(link, p)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(p, 0o755)
		} else {
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadPack(t *testing.T) {
	sandboxtest.Leaks(t)
	dir := tree(t, map[string]string{
		"a": "12345", "sub/b": "678", "sub/empty/": "", "link": "->sub/b", "out": "->/etc/passwd", "dangling": "->nowhere",
	})
	p, err := ReadPack(copyOf(dir), 8)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var got []string
	for _, e := range p.entries {
		got = append(got, fmt.Sprintf("%q %s %s %d+%d", e.path, e.mode, e.link, e.offset, e.size))
	}
	want := []string{
		`"" drwxr-xr-x  0+0`, `"a" -rw-r--r--  0+5`, `"dangling" L--------- nowhere 0+0`, `"link" L--------- sub/b 0+0`,
		`"out" L--------- /etc/passwd 0+0`, `"sub" drwxr-xr-x  0+0`, `"sub/b" -rw-r--r--  5+3`, `"sub/empty" drwxr-xr-x  0+0`,
	}
	if !slices.Equal(got, want) || p.Size() != 8 {
		t.Errorf("%d bytes:\n%s\nwant\n%s", p.Size(), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	content := make([]byte, 9)
	if n, _ := p.content.ReadAt(content, 0); string(content[:n]) != "12345678" {
		t.Errorf("content %q", content[:n])
	}
	one, err := ReadPack(copyOf(dir+"/sub/b"), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if len(one.entries) != 1 || one.entries[0].path != "" || one.Size() != 3 {
		t.Errorf("a single file: %+v", one.entries)
	}
}

// Lessons: a source that leads elsewhere (CVE-2024-1753), a link in the box
// that was followed (CVE-2024-28185), a source exchanged after the look
// (CVE-2024-42472).
func TestReadPackRefuses(t *testing.T) {
	sandboxtest.Leaks(t)
	dir := tree(t, map[string]string{"d/a": "12345", "d/inner": "->a", "e/out": "->/etc/passwd", "e/up": "->../d/a", "f/sub/": "", "g/x": "1"})
	if err := unix.Mkfifo(dir+"/f/sub/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	_, ino := inode(t, dir+"/d/a")
	tests := []struct {
		name  string
		op    plan.Op
		limit int64
		want  string
	}{
		{"missing", *copyOf(dir + "/nothing"), -1, "copying " + dir + "/nothing: stat " + dir + "/nothing: no such file or directory"},
		{"over the limit", *copyOf(dir + "/d"), 4, "copying " + dir + "/d: it holds more than the 4 bytes that the scratch may take: raise --scratch-size"},
		{"no room at all", *copyOf(dir + "/g"), 0, "copying " + dir + "/g: it holds more than the 0 bytes that the scratch may take: raise --scratch-size"},
		{"absolute link", *copyOf(dir + "/e/out"), -1, "copying " + dir + "/e/out: openat out: path escapes from parent"},
		{"link upwards", *copyOf(dir + "/e/up"), -1, "copying " + dir + "/e/up: openat up: path escapes from parent"},
		{"pipe itself", *copyOf(dir + "/f/sub/pipe"), -1, "copying " + dir + "/f/sub/pipe: pipe is a named pipe, which cannot be copied"},
		{"device", *copyOf("/dev/null"), -1, "copying /dev/null: null is a device, which cannot be copied"},
		{"exchanged file", plan.Op{Source: dir + "/d/a", Device: 1, Inode: ino}, -1, "copying " + dir + "/d/a: it was exchanged for something else while the sandbox was being set up"},
		{"exchanged directory", plan.Op{Source: dir + "/d", Device: 1, Inode: 1}, -1, "copying " + dir + "/d: it was exchanged for something else while the sandbox was being set up"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ReadPack(&tt.op, tt.limit)
			if p != nil || err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if strings.HasPrefix(tt.name, "exchanged") && !errors.Is(err, ErrExchanged) {
				t.Errorf("%v does not wrap ErrExchanged", err)
			}
		})
	}
	if p, err := ReadPack(copyOf(dir+"/d/inner"), -1); err != nil || p.Size() != 5 {
		t.Errorf("a link within its directory: %v", err)
	} else {
		p.Close()
	}
}

func TestReadPackOfManyFiles(t *testing.T) {
	if testing.Short() {
		sandboxtest.Lacks(t, "long", errors.New("makes 50,000 files, and -short is given"))
	}
	dir := t.TempDir()
	for i := range maxPackEntries - 1 {
		if err := os.Symlink("x", fmt.Sprintf("%s/%d", dir, i)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := ReadPack(copyOf(dir), -1)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := os.Symlink("x", dir+"/last"); err != nil {
		t.Fatal(err)
	}
	want := "copying " + dir + ": it holds more than 50000 files: give it with access cow or ro, or copy a part of it"
	if _, err := ReadPack(copyOf(dir), -1); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// copying returns a plan that copies a source to /data, and what it needs.
func copying(t *testing.T, source string, script string) (*plan.Plan, func(*Config)) {
	t.Helper()
	op := plan.Op{Kind: plan.Copy, Source: source, Target: "/data"}
	pack, err := ReadPack(&op, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pack.Close)
	p := small("sh", "-c", script)
	p.Ops = slices.Insert(p.Ops, slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Pivot }), op)
	return p, func(c *Config) { c.Packs = []*Pack{pack} }
}

func TestCopyIntoSandbox(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	big := strings.Repeat("0123456789abcdef", 256<<10) // 4 MiB
	dir := tree(t, map[string]string{"run": "#!/bin/sh\necho ran\n", "sub/big": big, "sub/b": "text", "link": "->sub/b", "out": "->/etc/passwd", "empty": ""})
	if err := os.Chmod(dir+"/run", 0o755); err != nil {
		t.Fatal(err)
	}
	p, with := copying(t, dir, `cd /data; ./run; wc -c < sub/big; tail -c 16 sub/big; echo; cat link; echo; readlink out; wc -c < empty; stat -c '%a %u' run sub sub/b`)
	out, end, err := start(t, p, with)
	if want := "ran\n4194304\n0123456789abcdef\ntext\n/etc/passwd\n0\n755 1000\n755 1000\n644 1000\n"; err != nil || end.Status != 0 || out != want {
		t.Errorf("got %v, %#x\n%s\nwant\n%s", err, uint32(end.Status), out, want)
	}
}

func TestCopyDoesNotFit(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	for name, size := range map[string]int{"by far": 8 << 20, "by the last page": 1<<20 - 4096} {
		dir := tree(t, map[string]string{"big": strings.Repeat("x", size), "more": strings.Repeat("y", 8192)})
		p, with := copying(t, dir, "true")
		p.Find(plan.Scratch).Size = 1 << 20
		_, _, err := start(t, p, with)
		var step *StepError
		if !errors.As(err, &step) || step.Op.Kind != plan.Copy || step.Errno != unix.ENOSPC {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := tree(t, map[string]string{"a": "", "b": "", "c": ""})
	p, with := copying(t, dir, "true")
	p.Find(plan.Scratch).Inodes = 11
	if _, _, err := start(t, p, with); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("no inodes: %v", err)
	}
}

// What others rename on this host meanwhile is no reason to fail: the kernel then
// gives up a path that leads upwards, and wants to be asked again.
func TestCopyBesideRenames(t *testing.T) {
	sandboxtest.Need(t, "userns")
	p, with := copying(t, tree(t, map[string]string{"a": "1"}), "cat /real/data/a")
	at := slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Symlink })
	p.Ops = slices.Insert(p.Ops, at, plan.Op{Kind: plan.Mkdir, Target: "/real", Mode: 0o755},
		plan.Op{Kind: plan.Symlink, Target: "/up", Data: strings.Repeat("../", 400) + "real"})
	p.Find(plan.Copy).Target = "/up/data"
	done, stopped := make(chan bool), make(chan error)
	go func() {
		dir, n := t.TempDir(), 0
		err := os.WriteFile(dir+"/0", nil, 0o600)
		for ; err == nil; n++ {
			select {
			case <-done:
				stopped <- nil
				return
			default:
				for begin := time.Now(); time.Since(begin) < 50*time.Microsecond; {
				}
				err = os.Rename(fmt.Sprint(dir, "/", n), fmt.Sprint(dir, "/", n+1))
			}
		}
		stopped <- err
	}()
	for range 20 {
		if out, end, err := start(t, p, with); err != nil || end.Status != 0 || out != "1" {
			t.Errorf("got %v, %#x, %q", err, uint32(end.Status), out)
		}
	}
	close(done)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A copy cannot leave the root through a link that stands where it goes.
func TestCopyStaysInside(t *testing.T) {
	sandboxtest.Need(t, "userns")
	dir, trap := tree(t, map[string]string{"a": "1"}), openDir(t)
	if err := os.Chmod(trap, 0o777); err != nil {
		t.Fatal(err)
	}
	p, with := copying(t, dir, "ls "+trap)
	at := func(k plan.Kind) int { return slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == k }) }
	p.Ops = slices.Insert(p.Ops, at(plan.Symlink), plan.Op{Kind: plan.Symlink, Target: "/trap", Data: "../../../.." + trap})
	p.Find(plan.Copy).Target = "/trap/data"
	if _, _, err := start(t, p, with); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(trap); err != nil || len(left) != 0 {
		t.Errorf("outside there is %v, %v", left, err)
	}
}
