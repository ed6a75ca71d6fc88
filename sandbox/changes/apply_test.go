package changes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// record makes the base of a directory.
func record(t testing.TB, dir string) *Base {
	t.Helper()
	b := &Base{Names: map[string]Was{}, Complete: true}
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(p, &st)
		}
		rel, _ := filepath.Rel(dir, p)
		b.Names[rel] = *WasOf(&st)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// project is a cow directory with what the job saw of it.
type project struct {
	*overlay
	base *Base
	// meanwhile, where it is not nil, is called while a new file is being written.
	meanwhile func(path string)
}

func newProject(t testing.TB, host, job string) *project {
	t.Helper()
	o := newOverlay(t, host)
	p := &project{overlay: o, base: record(t, o.lowers[0])}
	o.run(job)
	return p
}

func (p *project) host() string    { return p.lowers[0] }
func (p *project) journal() string { return filepath.Join(p.dir, "journal") }

// apply brings all changes that pass the filter, and says what became of each.
func (p *project) apply(force bool, want func(*Change) bool) (string, error) {
	p.t.Helper()
	target, err := OpenTarget(p.host(), p.base, force)
	if err != nil {
		return "", err
	}
	defer target.Close()
	if err := target.Begin(p.journal()); err != nil {
		return "", err
	}
	list := map[*Change]*Source{}
	var order []*Change
	err = p.tree().Scan(func(c *Change, s *Source) error {
		if (c.Kind != Deleted || !c.Within) && (want == nil || want(c)) {
			list[c] = s
			order = append(order, c)
		}
		return nil
	})
	var b strings.Builder
	for _, c := range order {
		if err != nil {
			break
		}
		err = target.Apply(c, func(f *os.File) error {
			from, err := list[c].OpenNew()
			if err != nil {
				return err
			}
			defer from.Close()
			if p.meanwhile != nil {
				p.meanwhile(c.Path)
			}
			_, err = f.ReadFrom(from)
			return err
		})
		conflict, refused := (*Conflict)(nil), (*Refused)(nil)
		switch {
		case errors.As(err, &conflict):
			fmt.Fprintf(&b, "conflict: %v\n", conflict)
		case errors.As(err, &refused):
			fmt.Fprintf(&b, "refused: %v\n", refused)
		case err == nil:
			fmt.Fprintf(&b, "%s %s\n", c.Kind, c.Path)
			continue
		default:
			continue
		}
		err = nil
	}
	if err == nil {
		err = target.Finish()
	}
	if err == nil {
		err = p.tree().Settle(slices.Sorted(maps.Keys(target.Done())))
	}
	if err == nil {
		err = os.Remove(p.journal())
	}
	return b.String(), err
}

// listing shows a tree: names, types, modes and contents, sockets and fifos left
// out, which are not applied.
const listing = `find . -mindepth 1 ! -type p ! -type s -printf '%P|%y|%m|%l|' \( -type f -exec sh -c 'cat "$1"; echo' sh {} \; -o -printf '\n' \) | sort`

func (p *project) listHost() string {
	p.t.Helper()
	cmd := exec.Command("sh", "-c", listing)
	cmd.Dir = p.host()
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// everyChange is a job that does each kind of thing.
const everyChange = `echo more >>a; rm b; ln -sf a link; rm -r e; mkdir -p n/m; echo new >n/m/f; chmod 750 n; chmod 700 n/m
chmod 700 tool; rm -r d/sub; echo sub >d/sub; chmod 711 d; rm old; mkdir old; echo in >old/in; ln -s /etc/passwd out; : >empty; echo x >d/x; chmod 4755 d/one`

const everyHost = lowerScript + "\necho old >old; rm pipe"

func TestApply(t *testing.T) {
	p := newProject(t, everyHost, everyChange)
	want := p.run(listing)
	want = strings.ReplaceAll(want, "d/one|f|4755", "d/one|f|755")
	out, err := p.apply(false, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := p.listHost(); got != want {
		t.Errorf("the host has\n%swant\n%s", got, want)
	}
	if strings.Contains(out, "conflict") || strings.Contains(out, "refused") {
		t.Errorf("said %s", out)
	}
	if got := p.scan(); got != "" {
		t.Errorf("left of the changes:\n%s", got)
	}
	// The record is up to date: what the job does next applies.
	p.run("echo 3 >>a; rm -r n; echo y >d/x; rm tool; rm -r old")
	want = p.run(listing)
	if out, err = p.apply(false, nil); err != nil || strings.Contains(out, "conflict") {
		t.Fatalf("again: %v\n%s", err, out)
	}
	if got := p.listHost(); got != want {
		t.Errorf("then the host has\n%swant\n%s", got, want)
	}
}

// What the host has changed since the job saw it stays.
func TestApplyConflicts(t *testing.T) {
	for _, tt := range []struct{ name, job, host, want string }{
		{"changed", "echo x >>a", "echo y >>a", `conflict: "a" was changed on the host since the job first ran`},
		{"changed, and as long", "echo x >a", "echo y >a", `conflict: "a" was changed on the host since the job first ran`},
		{"changed, with its old time", "echo x >a", "touch -r a t; echo y >a; touch -r t a; rm t", `conflict: "a" was changed on the host since the job first ran`},
		{"replaced", "echo x >a", "cp -p a t; mv t a", `conflict: "a" was changed on the host since the job first ran`},
		{"removed", "echo x >>a", "rm a", `conflict: "a" was removed on the host since the job first ran`},
		{"made", "echo x >n", "echo y >n", `conflict: "n" was made on the host since the job first ran`},
		{"deleted and changed", "rm a", "echo y >>a", `conflict: "a" was changed on the host since the job first ran`},
		{"deleted and gone", "rm a", "rm a", ""},
		{"both the same", "echo x >n", "echo x >n", ""},
		{"mode", "chmod 600 a", "chmod 755 a", `conflict: "a" was changed on the host since the job first ran`},
		{"a directory that has more", "rm -r d", "echo y >d/sub/new", `conflict: "d/sub/new" was made on the host since the job first ran`},
		{"a directory that has less", "rm -r d", "rm d/one", "D d\n"},
		{"a directory with a change", "rm -r d", "echo y >>d/sub/two", `conflict: "d/sub/two" was changed on the host since the job first ran`},
		{"a file for a directory with a change", "rm -r d; echo x >d", "echo y >>d/sub/two", `conflict: "d/sub/two" was changed on the host since the job first ran`},
		{"into a directory that went", "echo x >d/n; echo y >>d/one", "rm -r d", `conflict: "d" was removed on the host since the job first ran
conflict: "d/n" would be in a directory that is not there on the host
conflict: "d/one" was removed on the host since the job first ran`},
		{"into a link", "echo x >d/n", "mv d real; ln -s real d", `conflict: "d" was changed on the host since the job first ran
conflict: "d/n" would be in a directory that is not there on the host`},
		{"both made the directory", "mkdir n; echo x >n/a", "mkdir n; echo y >n/b", "A n/a\n"},
		{"another type", "echo x >>a", "rm a; mkdir a; echo y >a/y", `conflict: "a" was changed on the host since the job first ran`},
		{"special", "mkfifo p", "", `refused: "p" is a fifo, which is not brought to the host`},
		{"hard links", "rm one two", "", "D one\nD two\n"},
		{"hard links in a directory", "rm -r l", "", "D l\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProject(t, lowerScript+"\necho 1 >one; ln one two; mkdir l; echo 1 >l/1; ln l/1 l/2", tt.job)
			shell(t, p.host(), tt.host)
			before := p.listHost()
			got, err := p.apply(false, nil)
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimSpace(got) != strings.TrimSpace(tt.want) {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if strings.Contains(got, "conflict") && p.listHost() != before {
				t.Errorf("the host was changed:\n%s\nbefore\n%s", p.listHost(), before)
			}
			if !strings.Contains(got, "conflict") {
				return
			}
			merged := p.run(listing)
			if out, err := p.apply(true, nil); err != nil || strings.Contains(out, "conflict") && tt.name != "into a link" {
				t.Errorf("with force: %v\n%s", err, out)
			}
			if got := p.listHost(); got != merged && tt.name != "into a link" {
				t.Errorf("with force the host has\n%swant\n%s", got, merged)
			}
		})
	}
}

// A part of the changes leaves the others to be applied later.
func TestApplyPart(t *testing.T) {
	p := newProject(t, lowerScript, "echo x >>a; rm b; mkdir n; echo 1 >n/1; echo 2 >n/2; rm -r d; mkdir d; echo 3 >d/3")
	if _, err := p.apply(false, func(c *Change) bool { return slices.Contains([]string{"a", "n", "n/2", "d/one"}, c.Path) }); err != nil {
		t.Fatal(err)
	}
	if got := p.scan(); got != "D b\nA d/3\nD d/sub\n D d/sub/two\nA n/1\n" {
		t.Errorf("left:\n%s", got)
	}
	// What is applied shows through when it is changed on the host.
	shell(t, p.host(), "echo later >>a; echo later >n/3")
	if got := p.run("tail -n1 a; cat n/3"); got != "later\nlater\n" {
		t.Errorf("merged: %q", got)
	}
}

// TestApplyHelper is the process that TestApplyKilled kills.
func TestApplyHelper(t *testing.T) {
	dir := os.Getenv("BRIG_CHANGES_HELPER")
	if dir == "" {
		return
	}
	o := &overlay{t: t, dir: dir, lowers: []string{filepath.Join(dir, "lower0")}}
	p := &project{overlay: o, base: &Base{}}
	text, err := os.ReadFile(filepath.Join(dir, "base"))
	if err == nil {
		err = json.Unmarshal(text, p.base)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := p.apply(false, nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestApplyKilled ends an apply with SIGKILL at each system call that changes
// something, and applies again: then all is as if nothing had happened.
func TestApplyKilled(t *testing.T) {
	sandboxtest.Need(t, "strace")
	origin := newProject(t, everyHost, everyChange)
	want := strings.ReplaceAll(origin.run(listing), "d/one|f|4755", "d/one|f|755")
	shell(t, origin.dir, "chmod 700 work/work; rmdir work/work")
	copies := t.TempDir()
	points := 0
	for _, call := range []string{"renameat2", "unlinkat", "mkdirat", "write", "pwrite64", "copy_file_range", "fchmod", "chmod,fchmodat", "symlinkat", "fdatasync", "fsync", "fremovexattr"} {
		for n := 1; ; n++ {
			dir := filepath.Join(copies, fmt.Sprintf("%s%d", call[:4], n))
			if out, err := exec.Command("cp", "-a", origin.dir, dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			// The copy stands for what the job saw.
			text, err := json.Marshal(record(t, filepath.Join(dir, "lower0")))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "base"), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			helper := func(prefix ...string) ([]byte, error) {
				args := append(prefix, os.Args[0], "-test.run=^TestApplyHelper$")
				cmd := exec.Command(args[0], args[1:]...)
				cmd.Env = append(os.Environ(), "BRIG_CHANGES_HELPER="+dir, "GOMAXPROCS=1")
				return cmd.CombinedOutput()
			}
			_, err = helper("strace", "-qq", "-f", "-o", "/dev/null", "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n))
			killed := err != nil
			if killed {
				points++
				if out, err := helper(); err != nil {
					t.Fatalf("%s %d: again: %v\n%s", call, n, err, out)
				}
			}
			p := &project{overlay: &overlay{t: t, dir: dir, lowers: []string{filepath.Join(dir, "lower0")}}}
			if got := p.listHost(); got != want {
				t.Fatalf("%s %d: the host has\n%swant\n%s", call, n, got, want)
			}
			if got := p.scan(); got != "" {
				t.Fatalf("%s %d: left of the changes:\n%s", call, n, got)
			}
			shell(t, copies, "chmod -R u+rwX "+dir+"; rm -r "+dir)
			if !killed {
				break
			}
		}
	}
	t.Logf("killed at %d points", points)
	if points < 40 {
		t.Errorf("killed at %d points only", points)
	}
}
