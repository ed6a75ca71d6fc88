package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// reviews is a user's home, with a project, whose reviews are held in memory.
type reviews struct {
	t          *testing.T
	home, dir  string
	containers string
}

func newReviews(t *testing.T) *reviews {
	t.Helper()
	sandboxtest.Need(t, "overlay", "unprivileged", "tty", "tmpfs-xattr")
	sandboxtest.Leaks(t)
	r := &reviews{t: t, home: t.TempDir(), dir: t.TempDir()}
	r.containers = filepath.Join(r.home, ".local/share/brig/containers")
	return r
}

// begin runs a job, and has its changes asked about.
func (r *reviews) begin(job string) *session {
	r.t.Helper()
	s := newSession(r.t, r.dir, r.home, "run", "--review", "--", "sh", "-c", job)
	s.expect(decide)
	return s
}

// brig runs another command, and gives what it printed.
func (r *reviews) brig(args ...string) string {
	r.t.Helper()
	cmd := exec.Command(filepath.Join(brigDir, "brig"), args...)
	cmd.Dir, cmd.Env = r.dir, []string{"PATH=/usr/bin:/bin", "HOME=" + r.home, "TMPDIR=" + r.home}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// left lists what is in the store of containers, but for its lock.
func (r *reviews) left() []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.containers)
	if err != nil {
		r.t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if e.Name() != "lock" {
			list = append(list, e.Name())
		}
	}
	return list
}

// id waits for the one container that is left, which others see.
func (r *reviews) id() string {
	r.t.Helper()
	for late := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if list := r.left(); len(list) == 1 && !strings.HasPrefix(list[0], ".") {
			return list[0]
		} else if time.Now().After(late) {
			r.t.Fatalf("left: %q", list)
		}
	}
}

// asker is the process that asks, which brig waits for.
func (s *session) asker() int {
	s.t.Helper()
	// Any of brig's threads may have started it.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range tasks {
		b, _ := os.ReadFile(name) // the thread may be gone
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return n
		}
	}
	s.t.Fatal("brig has no child")
	return 0
}

// TestReviewInMemory: while the user is asked, nothing of what the job changed is
// on a disk, or mounted anywhere.
func TestReviewInMemory(t *testing.T) {
	r := newReviews(t)
	s := r.begin(`echo secret >new`)
	list := r.left()
	if len(list) != 1 || !strings.HasPrefix(list[0], ".new-") {
		t.Fatalf("left: %q", list)
	}
	if data, err := os.ReadDir(filepath.Join(r.containers, list[0], "data")); err != nil || len(data) > 0 {
		t.Errorf("on the disk: %v %v", data, err)
	}
	if out := r.brig("ps", "-a"); strings.Count(out, "\n") != 1 {
		t.Errorf("others see %q", out)
	}
	r.brig("prune")
	if now := r.left(); len(now) != 1 || now[0] != list[0] {
		t.Errorf("a sweep left %q", now)
	}
	s.answer("d")
	if code, text := s.end(); code != 0 {
		t.Errorf("exit code %d: %q", code, text)
	}
	if list := r.left(); len(list) > 0 {
		t.Errorf("left: %q", list)
	}
}

// TestReviewKilled ends what takes part in a review by SIGKILL, at the question.
func TestReviewKilled(t *testing.T) {
	for _, tt := range []struct {
		name string
		kill func(t *testing.T, s *session)
		kept bool
	}{
		{"brig", func(t *testing.T, s *session) {
			if err := s.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = s.cmd.Wait()
		}, true},
		{"the asker", func(t *testing.T, s *session) {
			if err := syscall.Kill(s.asker(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			code, text := s.end()
			if code != 125 || !strings.Contains(text, "kept as container ") || !strings.Contains(text, "brig: the changes have not been reviewed\r\n  fix: what the command changed is kept as container ") {
				t.Errorf("exit code %d: %q", code, text)
			}
		}, true},
		{"the terminal", func(_ *testing.T, s *session) {
			s.tty.Close()
			_ = s.cmd.Wait()
		}, true},
		{"brig asked to end", func(t *testing.T, s *session) {
			if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code, text := s.end(); code != 0 || !strings.Contains(text, "kept as container ") {
				t.Errorf("exit code %d: %q", code, text)
			}
		}, true},
		{"both", func(t *testing.T, s *session) { s.killBoth() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReviews(t)
			if err := os.WriteFile(filepath.Join(r.dir, "file"), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := r.begin(`echo new >file; ln file other; mkdir -p d/e; echo x >d/e/f; rm -r d/e; chmod 0 d`)
			tt.kill(t, s)
			if !tt.kept {
				if list := r.left(); len(list) != 1 || !strings.HasPrefix(list[0], ".new-") {
					t.Errorf("left: %q", list)
				}
				if out := r.brig("prune"); strings.Contains(out, "container") {
					t.Errorf("pruned: %q", out)
				}
			} else {
				id := r.id()
				if out := r.brig("diff", id); out != "A /work/d\nC /work/file\nA /work/other\n" {
					t.Errorf("kept: %q", out)
				}
				r.brig("rm", id)
			}
			if list := r.left(); len(list) > 0 {
				t.Errorf("left: %q", list)
			}
			if text, err := os.ReadFile(filepath.Join(r.dir, "file")); string(text) != "old" {
				t.Errorf("the host has %q, %v", text, err)
			}
		})
	}
}

// killBoth ends brig and the process that asks, before either sees the other's
// end, and waits until nothing of them holds a lock any more.
func (s *session) killBoth() {
	s.t.Helper()
	asker := s.asker()
	for _, do := range []func() error{
		func() error { return s.cmd.Process.Signal(syscall.SIGSTOP) },
		// Until each of its threads has stopped, it may see the other's end.
		func() error {
			_, err := syscall.Wait4(s.cmd.Process.Pid, nil, syscall.WUNTRACED, nil)
			return err
		},
		func() error { return syscall.Kill(asker, syscall.SIGKILL) },
		s.cmd.Process.Kill,
	} {
		if err := do(); err != nil {
			s.t.Fatal(err)
		}
	}
	_ = s.cmd.Wait()
	// It is this process's now, which takes in orphans: see sandboxtest.Leaks.
	if _, err := syscall.Wait4(asker, nil, 0, nil); err != nil {
		s.t.Fatalf("the process that asked: %v", err)
	}
}

// TestReviewKilledWhileApplying ends both at random moments of an apply, of which
// nothing can be continued then: each file is the old one or the new one, whole,
// and the next command removes what was moved aside.
func TestReviewKilledWhileApplying(t *testing.T) {
	r := newReviews(t)
	const files = 60
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	cut := 0
	for run := range 6 {
		if err := os.RemoveAll(r.dir); err != nil {
			t.Fatal(err)
		}
		for i := range files {
			d := filepath.Join(r.dir, fmt.Sprint("d", i))
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"changed", "gone"} {
				if err := os.WriteFile(filepath.Join(d, name), []byte("old"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		s := r.begin(`for d in d*; do printf new >$d/changed; rm $d/gone; printf new >$d/made; done`)
		s.answer("a")
		s.expect(" " + r.dir + "/d" + []string{"0", "1", "3"}[run%3] + "/") // the first, and some later
		time.Sleep(time.Duration(random.Int64N(int64(20 * time.Millisecond))))
		s.killBoth()
		list := r.left()
		if len(list) != 1 {
			t.Fatalf("run %d (seed %d): left %q", run, seed, list)
		}
		if _, err := os.Stat(filepath.Join(r.containers, list[0], "apply1.journal")); err == nil {
			cut++
		}
		r.brig("prune")
		if list := r.left(); len(list) > 0 {
			t.Errorf("run %d (seed %d): left %q", run, seed, list)
		}
		for i := range files {
			entries, err := os.ReadDir(filepath.Join(r.dir, fmt.Sprint("d", i)))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				text, err := os.ReadFile(filepath.Join(r.dir, fmt.Sprint("d", i), e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				switch is := e.Name() + "=" + string(text); is {
				case "changed=old", "changed=new", "gone=old", "made=new":
				default:
					t.Errorf("run %d (seed %d): d%d has %s", run, seed, i, is)
				}
			}
		}
	}
	if cut == 0 {
		t.Error("no apply was caught before its end")
	}
}

// TestReviewHostile: what the job made to confuse is shown so that it cannot, and
// what is applied is applied where it belongs.
func TestReviewHostile(t *testing.T) {
	r := newReviews(t)
	outside := t.TempDir()
	for _, dir := range []string{"dir", "turned"} {
		if err := os.Mkdir(filepath.Join(r.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.dir, dir, "file"), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := r.begin(`rm -r turned; ln -s ` + outside + ` turned; mkfifo dir/fifo; printf x >"$(printf 'a\nb\033]0;x\007\377')"
mkdir -p shut/in; echo y >shut/in/f; chmod 0 shut/in shut; cd dir; for i in $(seq 100); do mkdir d && cd -P d; done; echo deep >file`)
	// Between the question and the answer the host's directory becomes a link.
	if err := os.Rename(filepath.Join(r.dir, "dir"), filepath.Join(outside, "dir")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "dir"), filepath.Join(r.dir, "dir")); err != nil {
		t.Fatal(err)
	}
	s.answer("a")
	said := s.expect(decide)
	if strings.ContainsAny(said, "\x1b\a") || !utf8.ValidString(said) || !strings.Contains(said, `A `+r.dir+`/a\nb\x1b]0;x\a\xff`) ||
		!strings.Contains(said, r.dir+"/turned -> "+outside+"  (symlink, was directory, which goes with all in it)  (leads out of the directory)") {
		t.Errorf("said: %q", said)
	}
	s.answer("d")
	if code, text := s.end(); code != 0 {
		t.Errorf("exit code %d: %q", code, text)
	}
	if entries, err := os.ReadDir(filepath.Join(outside, "dir")); err != nil || len(entries) != 1 {
		t.Errorf("outside there is %v, %v", entries, err)
	}
	if to, err := os.Readlink(filepath.Join(r.dir, "turned")); to != outside {
		t.Errorf("turned is %q, %v", to, err)
	}
	if err := os.Chmod(filepath.Join(r.dir, "shut"), 0o700); err != nil {
		t.Errorf("what was shut: %v", err)
	}
	if info, err := os.Stat(filepath.Join(r.dir, "shut/in")); err != nil || info.Mode().Perm() != 0 {
		t.Errorf("what was shut: %v %v", info, err)
	}
	_ = os.Chmod(filepath.Join(r.dir, "shut/in"), 0o700)
	if list := r.left(); len(list) > 0 {
		t.Errorf("left: %q", list)
	}
}

// TestReviewImage: what is kept of a run in an image is its root's layer as well.
func TestReviewImage(t *testing.T) {
	r := newReviews(t)
	root := filepath.Join(r.home, "root")
	for _, dir := range []string{"usr", "etc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("tar", "-C", root, "-cf", root+".tar", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.brig("import", root+".tar", "image:1")
	s := newSession(t, r.dir, r.home, "run", "--review", "--name", "mine", "--image", "image:1", "-v", "/usr:/usr:ro", "-v", r.dir+":/work:cow", "--",
		"/bin/sh", "-c", `echo new >/etc/new; rm -r /tmp; mkdir /tmp; echo x >>/work/runs`)
	if shown := s.expect(decide); strings.Contains(shown, "/etc/new") || !strings.Contains(shown, "A -0644       2B  "+r.dir+"/runs\r\n") {
		t.Errorf("shown: %q", shown)
	}
	s.answer("k")
	if code, text := s.end(); code != 0 || !strings.Contains(text, "kept as container mine: ") {
		t.Errorf("exit code %d: %q", code, text)
	}
	const want = "A /etc/new\nA /work\nA /work/runs\n"
	if out := r.brig("diff", "mine"); out != want {
		t.Errorf("kept: %q", out)
	}
	r.brig("start", "mine")
	r.brig("apply", "mine")
	if text, err := os.ReadFile(filepath.Join(r.dir, "runs")); string(text) != "x\nx\n" {
		t.Errorf("after a second run: %q %v", text, err)
	}
	r.brig("rm", "mine")
	r.brig("rmi", "image:1")
}

// TestReviewUnlisted: changes that cannot be listed are kept all the same.
func TestReviewUnlisted(t *testing.T) {
	r := newReviews(t)
	s := newSession(t, r.dir, r.home, "run", "--review", "--", "python3", "-c", `
import os
open("result", "w").write("x")
for i in range(300):
    os.mkdir("n" * 20)
    os.chdir("n" * 20)`)
	code, text := s.end()
	if code != 125 || !strings.Contains(text, "its path is longer than 4095 bytes") || !strings.Contains(text, "kept as container ") {
		t.Errorf("exit code %d: %q", code, text)
	}
	id := r.id()
	if b, err := os.ReadFile(filepath.Join(r.containers, id, "data/upper1/result")); string(b) != "x" {
		t.Errorf("kept: %q %v", b, err)
	}
	r.brig("rm", id)
	if list := r.left(); len(list) > 0 {
		t.Errorf("left: %q", list)
	}
}
