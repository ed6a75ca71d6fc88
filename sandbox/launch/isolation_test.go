package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// filtered returns a small plan whose job is under a filter that forbids
// nothing, and the options to start it.
func filtered(argv ...string) (*plan.Plan, func(*Config)) {
	p := small(argv...)
	i := len(p.Ops) - 1
	p.Ops = slices.Insert(p.Ops, i, plan.Op{Kind: plan.Seccomp, Data: "allow-all"})
	return p, func(c *Config) { c.Filters = [][]byte{allowAll} }
}

// shell runs a script in a small sandbox and returns its output.
func shell(t *testing.T, script string) string {
	t.Helper()
	p, with := filtered("sh", "-c", script)
	out, end, err := start(t, p, with)
	if err != nil || end.Status != 0 {
		t.Fatalf("status %#x, %v, output:\n%s", uint32(end.Status), err, out)
	}
	return out
}

// Lessons: a leaked descriptor of the host (CVE-2024-21626), descriptors of an
// entering process (CVE-2016-9962). Whatever the caller has open, also without
// close-on-exec, the job has 0, 1 and 2 alone, and they are not the caller's.
func TestNoDescriptorLeaks(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	for _, least := range []int{5, 9, 64, 200, 900} {
		fd, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD, least)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	// The shell itself opens nothing to expand the pattern in its own /proc
	// but the directory, which then is 3.
	got := shell(t, `for f in /proc/self/fd/*; do echo "${f##*/} $(readlink $f)"; done`)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	for i, line := range lines {
		fd, to, _ := strings.Cut(line, " ")
		if fd != fmt.Sprint(i) || i > 3 {
			t.Errorf("descriptor %s -> %s", fd, to)
		}
		if i < 3 && to != "/dev/null" && !strings.HasPrefix(to, "pipe:[") {
			t.Errorf("descriptor %s is %s", fd, to)
		}
	}
	// ls reads the directory through one of its own.
	if got := shell(t, "ls /proc/self/fd"); got != "0\n1\n2\n3\n" {
		t.Errorf("descriptors\n%s", got)
	}
}

// Init keeps the channel and the descriptor that tells it of ended children,
// and nothing of the host's. It is seen from outside, since inside nobody may
// look.
func TestInitFromOutside(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	p := small("sleep", "1000")
	s := begin(t, p, nil)
	dir := fmt.Sprintf("/proc/%d/", s.PID())
	if os.Getuid() != 0 {
		if _, err := os.ReadDir(dir + "fd"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("init is dumpable: its descriptors can be listed by its user: %v", err)
		}
		return
	}
	// It closes the rest right after it has sent what the parent needs.
	want := []string{"3 socket", "4 anon_inode"}
	var got []string
	for range 100 {
		if got = descriptors(t, dir+"fd/"); slices.Equal(got, want) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !slices.Equal(got, want) {
		t.Errorf("init has %q, want %q", got, want)
	}
	for name, want := range map[string]string{"environ": "", "cmdline": "brig-init\x00"} {
		if b, err := os.ReadFile(dir + name); err != nil || string(b) != want {
			t.Errorf("%s of init is %q, %v", name, b, err)
		}
	}
}

// descriptors lists a directory of /proc/PID/fd with what each is.
func descriptors(t *testing.T, dir string) []string {
	t.Helper()
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range fds {
		to, err := os.Readlink(dir + f.Name())
		if err != nil {
			continue // closed in between
		}
		to, _, _ = strings.Cut(to, ":[")
		list = append(list, f.Name()+" "+to)
	}
	return list
}

// Nothing of init is in the job's reach, which has the same user id here.
func TestInitIsOutOfReach(t *testing.T) {
	sandboxtest.Need(t, "userns")
	got := shell(t, `for f in environ maps mem auxv syscall stack; do
	if head -c1 /proc/1/$f >/dev/null 2>&1; then echo "$f can be read"; fi; done
for f in exe cwd root; do if readlink /proc/1/$f >/dev/null; then echo "$f can be read"; fi; done 2>/dev/null
if ls /proc/1/fd 2>/dev/null; then echo "fd can be listed"; fi
if ls /proc/1/map_files 2>/dev/null; then echo "map_files can be listed"; fi
if echo 1 > /proc/1/oom_score_adj; then echo "oom_score_adj can be written"; fi 2>/dev/null
if echo brig > /proc/1/comm; then echo "comm can be written"; fi 2>/dev/null
for s in HUP INT TERM KILL SEGV STOP USR1 CHLD; do kill -$s 1; done
sleep 0.05; cat /proc/1/comm`)
	if got != "brig-init\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestInitCannotBeTraced(t *testing.T) {
	sandboxtest.Need(t, "userns", "python3")
	got := shell(t, `exec python3 -c '
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name, args in (("ATTACH", (16, 1, 0, 0)), ("SEIZE", (0x4206, 1, 0, 0))):
    r = libc.ptrace(*[ctypes.c_long(a) for a in args])
    print(name, r, os.strerror(ctypes.get_errno()))
'`)
	if want := "ATTACH -1 Operation not permitted\nSEIZE -1 Operation not permitted\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// status is the fields of a /proc/PID/status that are about privileges.
func status(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			m[name] = strings.TrimSpace(value)
		}
	}
	return m
}

// Lesson: non-empty inheritable capabilities (CVE-2022-29162, CVE-2022-27650).
func TestPrivileges(t *testing.T) {
	sandboxtest.Need(t, "userns", "seccomp")
	const none = "0000000000000000"
	want := map[string]string{
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none, "NoNewPrivs": "1",
		"Uid": "1000\t1000\t1000\t1000", "Gid": "1000\t1000\t1000\t1000",
	}
	job := status(shell(t, "exec cat /proc/self/status"))
	for name, value := range want {
		if job[name] != value {
			t.Errorf("the job's %s is %s, want %s", name, job[name], value)
		}
	}
	if job["Seccomp"] != "2" || job["Seccomp_filters"] != "1" && job["Seccomp_filters"] != "" {
		t.Errorf("the job's seccomp mode is %s with %s filters", job["Seccomp"], job["Seccomp_filters"])
	}
	for _, name := range []string{"SigBlk", "SigIgn"} {
		if job[name] != none {
			t.Errorf("the job starts with %s %s", name, job[name])
		}
	}
	init := status(shell(t, "exec cat /proc/1/status"))
	delete(want, "CapBnd") // nothing can be gained from it with no_new_privs
	for name, value := range want {
		if init[name] != value {
			t.Errorf("init's %s is %s, want %s", name, init[name], value)
		}
	}
}

// A job gets the capabilities that it was given, in the sets it needs to keep
// them, and no other.
func TestGivenCapabilities(t *testing.T) {
	sandboxtest.Need(t, "userns")
	p := small("cat", "/proc/self/status")
	p.Find(plan.Capabilities).Names = []string{"CAP_CHOWN", "CAP_KILL"}
	out, _, err := start(t, p)
	if err != nil {
		t.Fatal(err)
	}
	got := status(out)
	for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if got[name] != "0000000000000021" {
			t.Errorf("%s is %s", name, got[name])
		}
	}
}

func TestWhatTheJobSees(t *testing.T) {
	sandboxtest.Need(t, "userns", "landlock")
	got := shell(t, `hostname; umask; pwd; echo $$ $PPID; env | sort; ls -A /
cat /proc/sys/user/max_user_namespaces /proc/self/oom_score_adj; grep -c lo: /proc/net/dev
ls -d /proc/[0-9]*; touch /x /usr/x /tmp/x 2>&1; tty; exit 0`)
	want := "brig\n0022\n/tmp\n2 1\nPATH=/usr/bin\nPWD=/tmp\nbin\ndev\nlib\nlib64\nproc\ntmp\nusr\n0\n500\n1\n" +
		"/proc/1\n/proc/2\n" +
		"touch: cannot touch '/x': Permission denied\ntouch: cannot touch '/usr/x': Read-only file system\nnot a tty\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Lesson: input pushed into the caller's terminal (CVE-2017-5226). The job is in
// a session of its own, without a terminal.
func TestSession(t *testing.T) {
	sandboxtest.Need(t, "userns")
	if got := shell(t, `cut -d' ' -f1,5,6,7 /proc/$$/stat`); got != "2 2 2 0\n" {
		t.Errorf("pid, group, session and terminal are %s", got)
	}
}

// Lessons: a masked path over a null device that was exchanged
// (CVE-2025-31133), procfs behind a link (CVE-2019-16884).
func TestMasks(t *testing.T) {
	sandboxtest.Need(t, "userns")
	p := small("sh", "-c", `wc -c < /proc/version; ls -A /proc/fs; stat -c %t:%T /proc/version; touch /proc/fs/x 2>&1; exit 0`)
	p.Ops = slices.DeleteFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Landlock })
	i := slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Mask })
	p.Ops[i].Target = "/proc/version"
	p.Ops[i+2].Target = "/proc/fs"
	out, end, err := start(t, p)
	if want := "0\n1:3\ntouch: cannot touch '/proc/fs/x': Read-only file system\n"; err != nil || end.Status != 0 || out != want {
		t.Errorf("got %v, %#x\n%swant\n%s", err, uint32(end.Status), out, want)
	}

	// The null device inside is exchanged for a link before the mask is made.
	p = small("true")
	p.Ops = slices.DeleteFunc(p.Ops, func(o plan.Op) bool {
		return o.Kind == plan.File || o.Kind == plan.Bind && o.Handle == 2
	})
	i = slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == plan.Symlink })
	p.Ops[i] = plan.Op{Kind: plan.Symlink, Target: "/dev/null", Data: "/usr/bin/true"}
	p.Find(plan.Mask).Target = "/proc/version"
	if _, _, err := start(t, p); err == nil || !strings.HasPrefix(err.Error(), "op ") || !strings.HasSuffix(err.Error(), ", mask -> /proc/version: too many levels of symbolic links") {
		t.Errorf("a link in place of the null device: %v", err)
	}
}

// TestInitSurvivesItsLimits: a job of init's own id can lower init's limits where
// its filter lets it, and init goes on to reap and to report.
func TestInitSurvivesItsLimits(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	got := shell(t, `prlimit --pid 1 --nofile=0:0 && prlimit --pid 1 --nproc=0:0 && (sleep 0.1 &) && sleep 0.5 && echo alive`)
	if got != "alive\n" {
		t.Errorf("output %q", got)
	}
}
