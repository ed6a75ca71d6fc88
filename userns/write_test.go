package userns

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// cloneChild starts a process in a new user namespace without maps. It ends
// with the test.
func cloneChild(t testing.TB) int {
	t.Helper()
	cmd := exec.Command("/bin/cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f, _ := ReadFacts(nil)
		f.Step = StepClone
		errors.As(err, &f.Errno)
		sandboxtest.Lacks(t, "userns", Diagnose(f))
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// readMaps returns what the kernel made of the maps.
func readMaps(t testing.TB, pid int) IDs {
	t.Helper()
	read := func(name string) Map {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseMap(string(data))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	return IDs{UID: read("uid_map"), GID: read("gid_map")}
}

// kernelMappings are the mappings an ordinary user can have.
func kernelMappings(t testing.TB, sub SubIDs) map[string]IDs {
	t.Helper()
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	isolated, err := Isolated(sub)
	if err != nil {
		t.Fatal(err)
	}
	keep, err := KeepID(uid, gid, 1000, 1000, sub)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]IDs{"isolated": isolated, "keep-id": keep}
}

func TestKernelWriteMaps(t *testing.T) {
	sandboxtest.Need(t, "unprivileged") // for root, TestKernelAsOrdinaryUser runs this
	needSubIDUser(t)
	tools := needTools(t)
	sub, err := LookupSubIDs(t.Context(), LookupOptions{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	if err != nil {
		t.Fatal(err)
	}
	for name, ids := range kernelMappings(t, sub) {
		t.Run(name, func(t *testing.T) {
			pid := cloneChild(t)
			if err := WriteMaps(t.Context(), pid, ids, tools); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(ids, readMaps(t, pid)); d != "" {
				t.Errorf("the kernel has other maps: %s", d)
			}
			// A map can be written once only.
			err := WriteMaps(t.Context(), pid, ids, tools)
			if !errors.Is(err, ToolFailed) || !strings.Contains(err.Error(), "Operation not permitted") {
				t.Errorf("second write: %v", err)
			}
		})
	}
}

func TestKernelWriteMapsRefused(t *testing.T) {
	sandboxtest.Need(t, "unprivileged") // for root, TestKernelAsOrdinaryUser runs this
	needSubIDUser(t)
	tools := needTools(t)
	pid := cloneChild(t)
	foreign := IDs{UID: Map{{0, 3000000000, 5}}, GID: Map{{0, 3000000000, 5}}}
	err := WriteMaps(t.Context(), pid, foreign, tools)
	p := theProblem(t, err, ToolRefusedRange, tools.NewUIDMap+" failed (exit status 1)")
	if want := "newuidmap: uid range [0-5) -> [3000000000-3000000005) not allowed"; p.Err.Error() != want {
		t.Errorf("%q, want %q", p.Err, want)
	}
	err = WriteMaps(t.Context(), 1, foreign, tools)
	wantProblem(t, err, ToolRefusedOwner, tools.NewUIDMap+" failed (exit status 1)")
	err = WriteMapsDirect(pid, foreign)
	wantProblem(t, err, MapRefused, `writing "0 3000000000 5\n" to /proc/`+strconv.Itoa(pid)+"/uid_map")
	if !errors.Is(err, syscall.EPERM) {
		t.Errorf("%v, want EPERM", err)
	}
	wantProblem(t, WriteMaps(t.Context(), pid, IDs{}, tools), MapInvalid, "the id map is empty")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	slow := script(t, "exec sleep 60")
	if err := WriteMaps(ctx, pid, foreign, Tools{slow, slow}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The tools run at the same time, and the failure of the second counts too.
func TestWriteMapsRunsBothAtOnce(t *testing.T) {
	dir := t.TempDir()
	// Each waits until the other has started.
	meet := `: > ` + dir + `/$1; n=0; while [ ! -e ` + dir + `/$2 ]; do sleep 0.01; n=$((n+1)); [ $n -lt 1000 ] || exit 9; done`
	u, g := script(t, strings.NewReplacer("$1", "u", "$2", "g").Replace(meet)), script(t, strings.NewReplacer("$1", "g", "$2", "u").Replace(meet)+"\necho 'newgidmap: boom' >&2; exit 3")
	err := WriteMaps(t.Context(), 1, Single(5, 5, 5, 5), Tools{u, g})
	p := theProblem(t, err, ToolFailed, g+" failed (exit status 3)")
	if p.Err.Error() != "newgidmap: boom" {
		t.Errorf("stderr is %q", p.Err)
	}
}

func TestWriteMapsGivesTheToolsNothing(t *testing.T) {
	t.Setenv("BRIG_SECRET", "s")
	out := filepath.Join(t.TempDir(), "out")
	tool := script(t, `{ echo "$@"; env | sort; readlink /proc/self/fd/0 /proc/self/fd/1; ls /proc/$$/fd | wc -w; } > `+out+"; yes | head -c 100000 >&2; exit 1")
	err := WriteMaps(t.Context(), 42, IDs{UID: Map{{0, 7, 1}, {1, 9, 2}}, GID: Map{{0, 7, 1}, {1, 9, 2}}}, Tools{tool, "/bin/true"})
	if !errors.Is(err, ToolFailed) || len(err.Error()) > maxStderr+500 {
		t.Errorf("error of %d bytes: %.200v", len(err.Error()), err)
	}
	data, _ := os.ReadFile(out)
	lines := strings.Split(string(data), "\n")
	if lines[0] != "42 0 7 1 1 9 2" {
		t.Errorf("arguments are %q", lines[0])
	}
	if strings.Contains(string(data), "BRIG_SECRET") || !strings.Contains(string(data), "LC_ALL=C\n") {
		t.Errorf("environment: %s", data)
	}
}

// A tool cannot fill the memory through its standard error.
func TestSinkDoesNotGrow(t *testing.T) {
	s, err := newSink(maxStderr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	n, err := s.file.WriteString(strings.Repeat("x", maxStderr+1))
	if n != maxStderr || !errors.Is(err, syscall.EPERM) {
		t.Errorf("wrote %d bytes, %v, want %d and EPERM", n, err, maxStderr)
	}
	if got := len(s.text(maxStderr)); got != maxStderr {
		t.Errorf("%d bytes are kept", got)
	}
}

func TestExplainTool(t *testing.T) {
	for said, want := range map[string]Reason{
		"newuidmap: uid range [0-1) -> [1-2) not allowed":                        ToolRefusedRange,
		"newuidmap: Target process 5 is owned by a different user: uid:1 pw_uid": ToolRefusedOwner,
		"newuidmap: write to uid_map failed: Operation not permitted":            ToolFailed,
		"newuidmap: Cannot determine your user name.":                            UnknownUser,
		"newuidmap: Could not open proc directory for target 5":                  ToolFailed,
	} {
		p := explainTool("newuidmap", "/usr/bin/newuidmap", "/etc/subuid", "exit status 1", said)
		wantProblem(t, p, want, "/usr/bin/newuidmap failed (exit status 1)")
		if p.Err.Error() != said {
			t.Errorf("%q is lost: %v", said, p)
		}
	}
}

// A user may map itself without any help, after giving up setgroups.
func TestKernelSingle(t *testing.T) {
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	ids := Single(uid, gid, 1000, 100)
	pid := cloneChild(t)
	if uid == 0 {
		wantProblem(t, WriteMapsDirect(pid, ids), HostRoot, "the mapping contains the host's root (id 0)")
		if got := readMaps(t, pid); len(got.UID) != 0 || len(got.GID) != 0 {
			t.Errorf("host root was mapped: %v", got)
		}
		return
	}
	err := writeProc(pid, "gid_map", ids.GID.String())
	if !errors.Is(err, MapRefused) || !errors.Is(err, syscall.EPERM) {
		t.Errorf("gid_map with setgroups allowed: %v", err)
	}
	if err := DenySetgroups(pid); err != nil {
		t.Fatal(err)
	}
	if err := WriteMapsDirect(pid, ids); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ids, readMaps(t, pid)); d != "" {
		t.Error(d)
	}
}

func TestKernelDirectByRoot(t *testing.T) {
	sandboxtest.Need(t, "root")
	if initial, err := InInitial(); err != nil || !initial {
		sandboxtest.Lacks(t, "initial-userns", errors.Join(errors.New("this is another user namespace"), err))
	}
	lease, err := AllocateRange(AllocateOptions{Dir: filepath.Join(t.TempDir(), "ranges")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lease.Close() }()
	ids, err := Isolated(lease.SubIDs())
	if err != nil {
		t.Fatal(err)
	}
	pid := cloneChild(t)
	if err := WriteMapsDirect(pid, ids); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ids, readMaps(t, pid)); d != "" {
		t.Error(d)
	}
	wantProblem(t, WriteMapsDirect(1<<30, ids), MapRefused, "opening /proc/1073741824/uid_map")
}

// Root runs the tests of this file again as a user with subordinate ids.
func TestKernelAsOrdinaryUser(t *testing.T) {
	sandboxtest.Need(t, "root") // any other user has run them already
	user := needSubIDUser(t)
	// t.TempDir lies in a directory that only root may enter.
	dir, err := os.MkdirTemp("", "brig-test-userns-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the user must enter it
		t.Fatal(err)
	}
	binary, skips := filepath.Join(dir, "userns.test"), filepath.Join(dir, "skips")
	copySelf(t, binary)
	if err := os.WriteFile(skips, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(skips, int(user.uid), int(user.gid)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.run=^Test(Kernel|FindTools|ReadToolFacts|LookupSubIDsOnThisHost|Sysctl|NoNewPrivs)",
		"-test.skip=^TestKernel(DirectByRoot|AsOrdinaryUser)$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME=/", "TMPDIR=/tmp", sandboxtest.SkipsVariable+"="+skips)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user.uid, Gid: user.gid}}
	out, err := cmd.CombinedOutput()
	t.Logf("as %s:\n%s", user.name, out)
	if err != nil {
		t.Error(err)
	}
	passOnSkips(t, skips)
}

// passOnSkips lists the skips of another user's run among those of this one,
// whose list that user may not write.
func passOnSkips(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), "\t", 4)
		if len(fields) != 4 {
			t.Fatalf("skip %q", line)
		}
		sandboxtest.RecordSkip(t.Name()+"/"+fields[1], fields[2], errors.New(fields[3]))
	}
}

func copySelf(t *testing.T, dst string) {
	t.Helper()
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755) //nolint:gosec // it must be executable
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkKernelWriteMaps(b *testing.B) {
	sandboxtest.Need(b, "unprivileged")
	tools := needTools(b)
	sub, err := LookupSubIDs(b.Context(), LookupOptions{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	if err != nil {
		b.Fatal(err)
	}
	ids := kernelMappings(b, sub)["keep-id"]
	for b.Loop() {
		b.StopTimer()
		pid := cloneChild(b)
		b.StartTimer()
		if err := WriteMaps(b.Context(), pid, ids, tools); err != nil {
			b.Fatal(err)
		}
	}
}
