package e2e

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// session is a brig on a terminal.
type session struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	text chan []byte
	seen bytes.Buffer
}

func newSession(t *testing.T, dir, home string, args ...string) *session {
	t.Helper()
	s := &session{t: t, cmd: exec.Command(filepath.Join(brigDir, "brig"), args...), text: make(chan []byte)}
	s.cmd.Dir = dir
	s.cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + home}
	var err error
	if s.tty, err = pty.Start(s.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.tty.Close() })
	go func() {
		defer close(s.text)
		for {
			buf := make([]byte, 4096)
			n, err := s.tty.Read(buf)
			if n > 0 {
				s.text <- buf[:n]
			}
			if err != nil {
				return // the terminal is gone with the last process
			}
		}
	}()
	return s
}

// expect waits for a text, and gives what came before it.
func (s *session) expect(text string) string {
	s.t.Helper()
	late := time.After(time.Minute)
	for {
		if before, after, ok := strings.Cut(s.seen.String(), text); ok {
			s.seen.Reset()
			s.seen.WriteString(after)
			return before
		}
		select {
		case b, ok := <-s.text:
			if !ok {
				s.t.Fatalf("no %q, but the end after %q", text, s.seen.String())
			}
			s.seen.Write(b)
		case <-late:
			_ = s.cmd.Process.Kill()
			s.t.Fatalf("no %q in a minute, but %q", text, s.seen.String())
		}
	}
}

func (s *session) answer(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.tty, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// end waits for the end, and gives the exit code and what was printed last.
func (s *session) end() (int, string) {
	s.t.Helper()
	for b := range s.text {
		s.seen.Write(b)
	}
	err := s.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode(), s.seen.String()
}

// needKept skips the test where what a job changes in a directory cannot be kept.
func needKept(t *testing.T) {
	t.Helper()
	sandboxtest.Need(t, "overlay")
	if os.Geteuid() == 0 {
		sandboxtest.Need(t, "idmap")
	}
}

const decide = "apply all, choose, show the patch, discard, keep [a,c,p,d,k,?]? "

// TestReview has a user on a terminal decide what becomes of a run's changes.
func TestReview(t *testing.T) {
	needKept(t)
	sandboxtest.Need(t, "tty")
	sandboxtest.Leaks(t)
	home := t.TempDir()
	project := func(t *testing.T) string {
		dir := t.TempDir()
		for name, text := range map[string]string{"file": "a\n", "gone": "gone\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	read := func(dir string) string {
		var b strings.Builder
		for _, name := range []string{"file", "gone", "new"} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				b.WriteString(name + "=" + strings.TrimSpace(string(text)) + " ")
			}
		}
		return b.String()
	}
	before := map[string]bool{} // root has one store
	containers := func(t *testing.T) string {
		cmd := exec.Command(filepath.Join(brigDir, "brig"), "ps", "-aq")
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + home}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for id := range strings.FieldsSeq(string(out)) {
			if !before[id] {
				left = append(left, id)
			}
		}
		return strings.Join(left, " ")
	}
	for id := range strings.FieldsSeq(containers(t)) {
		before[id] = true
	}
	const job = `echo b >file; rm gone; printf 'new\033[2J\n' >new; exit 3`
	start := func(t *testing.T, dir string) *session {
		s := newSession(t, dir, home, "run", "--review", "--", "sh", "-c", job)
		if shown := s.expect(decide); !strings.Contains(shown, "D -0644       5B  "+dir+"/gone\r\n") || !strings.Contains(shown, "C -0644       2B  "+dir+"/file  (content)\r\n") {
			t.Errorf("shown: %q", shown)
		}
		return s
	}
	for _, tt := range []struct {
		name    string
		answers func(s *session, dir string)
		want    string
	}{
		{"apply", func(s *session, _ string) { s.answer("a") }, "file=b new=new\x1b[2J "},
		{"discard", func(s *session, _ string) { s.answer("d") }, "file=a gone=gone "},
		{"choose", func(s *session, _ string) {
			s.answer("c")
			s.expect("apply it [y,n,p,a,d,q,?]? ")
			s.answer("p")
			if patch := s.expect("apply it [y,n,p,a,d,q,?]? "); !strings.Contains(patch, "-a\r\n+b\r\n") {
				s.t.Errorf("patch: %q", patch)
			}
			s.answer("y")
			s.expect("apply it [y,n,p,a,d,q,?]? ")
			s.answer("d")
			s.expect(decide)
			s.answer("d")
		}, "file=b gone=gone "},
		{"the patch cannot steer the terminal", func(s *session, _ string) {
			s.answer("p")
			if patch := s.expect(decide); !strings.Contains(patch, `+new\x1b[2J`) || strings.Contains(patch, "\x1b") {
				s.t.Errorf("patch: %q", patch)
			}
			s.answer("d")
		}, "file=a gone=gone "},
		{"a conflict", func(s *session, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "file"), []byte("mine"), 0o600); err != nil {
				s.t.Fatal(err)
			}
			s.answer("a")
			if said := s.expect(decide); !strings.Contains(said, "2 applied, 1 in conflict, 0 refused") || !strings.Contains(said, "C -0644       2B  "+dir+"/file") {
				s.t.Errorf("said %q", said)
			}
			s.answer("?")
			s.expect("d - discard it")
			s.expect(decide)
			s.answer("d")
		}, "file=mine new=new\x1b[2J "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := project(t)
			s := start(t, dir)
			s.t = t
			tt.answers(s, dir)
			if code, rest := s.end(); code != 3 {
				t.Errorf("exit code %d, want the job's: %q", code, rest)
			}
			if got := read(dir); got != tt.want {
				t.Errorf("the host has %q, want %q", got, tt.want)
			}
			if left := containers(t); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		dir := project(t)
		s := start(t, dir)
		if _, err := s.tty.Write([]byte{3}); err != nil {
			t.Fatal(err)
		}
		code, rest := s.end()
		// What is printed at that moment may be flushed by the terminal.
		if code != 3 {
			t.Errorf("exit code %d, %q", code, rest)
		}
		id := containers(t)
		apply := newSession(t, dir, home, "apply", "-i", id)
		apply.expect("apply it [y,n,p,a,d,q,?]? ")
		apply.answer("a")
		if code, rest := apply.end(); code != 0 || read(dir) != "file=b new=new\x1b[2J " {
			t.Errorf("exit code %d, %q; the host has %q", code, rest, read(dir))
		}
		cmd := exec.Command(filepath.Join(brigDir, "brig"), "rm", id)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + home}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("keep", func(t *testing.T) {
		s := start(t, project(t))
		s.answer("k")
		if code, rest := s.end(); code != 3 || !strings.Contains(rest, "\r\nkept as container ") {
			t.Errorf("exit code %d, %q", code, rest)
		}
		cmd := exec.Command(filepath.Join(brigDir, "brig"), "rm", containers(t))
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + home}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("nothing changed", func(t *testing.T) {
		s := newSession(t, project(t), home, "run", "--review", "--", "true")
		if code, text := s.end(); code != 0 || !strings.Contains(text, "no changes are left to decide about") {
			t.Errorf("exit code %d, %q", code, text)
		}
		if left := containers(t); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}
