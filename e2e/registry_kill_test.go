package e2e

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// slowRegistry stands before a registry. While hold is set it sends half of each
// long blob, says so on held, and no more.
type slowRegistry struct {
	*httptest.Server
	behind string

	mu     sync.Mutex
	hold   bool
	held   chan struct{}
	ranges []string // of the requests for long blobs
}

// longBlob is what counts as long, in bytes.
const longBlob = 1 << 20

func newSlowRegistry(t *testing.T, behind string) *slowRegistry {
	s := &slowRegistry{behind: behind, held: make(chan struct{}, 100)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *slowRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+s.behind+r.URL.RequestURI(), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	req.Header = r.Header
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	long := strings.Contains(r.URL.Path, "/blobs/") && (resp.ContentLength > longBlob || r.Header.Get("Range") != "")
	s.mu.Lock()
	hold := s.hold && long
	if long {
		s.ranges = append(s.ranges, r.Header.Get("Range"))
	}
	s.mu.Unlock()
	if !hold {
		_, _ = io.Copy(w, resp.Body)
		return
	}
	_, _ = io.CopyN(w, resp.Body, resp.ContentLength/2)
	w.(http.Flusher).Flush()
	s.held <- struct{}{}
	<-r.Context().Done()
}

// take returns the ranges that were asked for, and forgets them.
func (s *slowRegistry) take(hold bool) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.ranges
	s.ranges, s.hold = nil, hold
	return list
}

// TestPullKilled ends brig pull with SIGKILL: the store stays consistent, no
// process stays, and what came is not fetched again.
func TestPullKilled(t *testing.T) {
	sandboxtest.Need(t, "subid", "unprivileged", "docker-registry")
	sandboxtest.Leaks(t)
	dir := t.TempDir()
	behind, stop, err := startRegistry(filepath.Join(dir, "registry"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	slow := newSlowRegistry(t, behind)
	front := strings.TrimPrefix(slow.URL, "http://")
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir}
	brig := func(args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(brigDir, "brig"), args...)
		cmd.Dir, cmd.Env = dir, env
		return cmd
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := brig(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("brig %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	// Some files, and ten megabytes that no compression makes less.
	root := filepath.Join(dir, "root")
	noise := make([]byte, 100<<10)
	for i := range 100 {
		name := filepath.Join(root, strconv.Itoa(i%7), strconv.Itoa(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		_, _ = rand.Read(noise)
		if err := os.WriteFile(name, noise, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "root.tar.gz")
	if out, err := exec.Command("tar", "-C", root, "--owner=7", "--group=7", "-czf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	must("import", "-q", archive, behind+"/x:1")
	must("push", "-q", "--insecure", behind+"/x:1")
	must("prune", "--all")
	t.Cleanup(func() { _ = brig("prune", "--all").Run() })
	config := filepath.Join(dir, "config")
	if err := os.MkdirAll(filepath.Join(config, "brig"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "brig/registries.toml"), fmt.Appendf(nil, "version = 1\n[registry.%q]\ninsecure = true\n", front), 0o600); err != nil {
		t.Fatal(err)
	}
	pull := func() *exec.Cmd { return brig("pull", "-q", "--insecure", front+"/x:1") }
	consistent := func(what string) {
		t.Helper()
		out, _ := brig("system", "check").CombinedOutput()
		for _, bad := range []string{"damaged:", "broken:", "index:", "not unpacked:"} {
			if strings.Contains(string(out), bad) {
				t.Fatalf("%s: %s", what, out)
			}
		}
	}

	t.Run("in the middle", func(t *testing.T) {
		slow.take(true)
		cmd := pull()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-slow.held
		waitForPart(t, dir)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		consistent("after the kill")
		slow.take(false)
		must("pull", "-q", "--insecure", front+"/x:1")
		if asked := slow.take(false); len(asked) != 1 || !strings.HasPrefix(asked[0], "bytes=") || asked[0] == "bytes=0-" {
			t.Errorf("the next pull asked for the ranges %q", asked)
		}
		if out := must("system", "check"); out != "the image store is in order\n" {
			t.Error(out)
		}
	})
	t.Run("two at once, and one of them", func(t *testing.T) {
		must("prune", "--all")
		slow.take(true)
		first, second := pull(), pull()
		if err := errors.Join(first.Start(), second.Start()); err != nil {
			t.Fatal(err)
		}
		<-slow.held
		<-slow.held
		_ = first.Process.Kill()
		_ = first.Wait()
		slow.take(false)
		slow.CloseClientConnections() // the other one goes on
		if err := second.Wait(); err != nil {
			t.Error(err)
		}
		consistent("after both")
		must("prune")
		if out := must("system", "check"); out != "the image store is in order\n" {
			t.Error(out)
		}
	})
	// A run that pulls first: its pull ends with it, in whichever way.
	for name, tt := range map[string]struct {
		signal os.Signal
		code   int
	}{"a run that is killed": {os.Kill, -1}, "a run that is interrupted": {os.Interrupt, 130}} {
		t.Run(name, func(t *testing.T) {
			must("prune", "--all")
			slow.take(true)
			defer slow.take(false)
			cmd := brig("run", "-q", "--image", front+"/x:1", "--", "true")
			cmd.Env = append(cmd.Env, "XDG_CONFIG_HOME="+config)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-slow.held
			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d", code)
			}
			noneLeft(t, front)
			consistent(name)
		})
	}
	t.Run("at random", func(t *testing.T) {
		must("prune", "--all")
		begin := time.Now()
		must("pull", "-q", "--insecure", front+"/x:1")
		typical := time.Since(begin)
		seed := uint64(time.Now().UnixNano())
		random := mathrand.New(mathrand.NewPCG(seed, 0))
		for run := range 20 {
			must("prune", "--all")
			one, two := pull(), pull()
			if err := errors.Join(one.Start(), two.Start()); err != nil {
				t.Fatal(err)
			}
			for _, cmd := range []*exec.Cmd{one, two} {
				time.Sleep(time.Duration(random.Int64N(int64(typical))) / 2)
				if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
				_ = cmd.Wait()
			}
			consistent(fmt.Sprintf("run %d (seed %d)", run, seed))
			if run%5 == 0 {
				must("pull", "-q", "--insecure", front+"/x:1")
				consistent(fmt.Sprintf("run %d (seed %d), pulled", run, seed))
			}
			// A sandbox ends a moment after its brig; until then its directory is
			// written to.
			time.Sleep(50 * time.Millisecond)
			must("prune")
			if out := must("system", "check"); out != "the image store is in order\n" {
				t.Fatalf("run %d (seed %d): %s", run, seed, out)
			}
		}
	})
}

// waitForPart waits until something of a blob is there.
func waitForPart(t *testing.T, home string) {
	t.Helper()
	for range 1000 {
		parts, err := filepath.Glob(filepath.Join(home, ".local/share/brig/images/partial/*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			if info, err := os.Stat(p); err == nil && info.Size() > 0 {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nothing of the blob came")
}

// noneLeft waits until no process has a word in its command line.
func noneLeft(t *testing.T, word string) {
	t.Helper()
	var left []string
	for range 200 {
		left = nil
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range lines {
			if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), word) {
				left = append(left, strings.ReplaceAll(string(b), "\x00", " "))
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("still there: %q", left)
}
