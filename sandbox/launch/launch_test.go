package launch

import (
	"io"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// small returns a plan with the host's /usr, one id and the given command.
func small(argv ...string) *plan.Plan {
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	ids := plan.IDs{Map: "single", By: plan.ByInit, CloneUID: uid, CloneGID: gid}
	if uid == 0 {
		ids.By, ids.CloneUID, ids.CloneGID, uid, gid = plan.ByParent, 1<<20, 1<<20, 1<<20, 1<<20
	}
	ids.UID = []plan.Mapping{{Inside: 1000, Outside: uid, Count: 1}}
	ids.GID = []plan.Mapping{{Inside: 1000, Outside: gid, Count: 1}}
	dev := func(h int, name string, minor uint64) plan.Op {
		return plan.Op{Kind: plan.Open, Handle: h, Source: "/dev/" + name, CharDevice: 1<<8 | minor, Flags: plan.NoSuid | plan.NoExec}
	}
	return &plan.Plan{
		Version: plan.Version, IDs: ids, Stdio: plan.Pipes,
		Namespaces: []plan.Namespace{plan.User, plan.Mount, plan.PID, plan.Net, plan.IPC, plan.UTS},
		Ops: []plan.Op{
			{Kind: plan.CloseDescriptors},
			{Kind: plan.MapIDs},
			{Kind: plan.CgroupNamespace},
			{Kind: plan.PrivateMounts},
			{Kind: plan.Open, Handle: 1, Source: "/usr", Flags: plan.ReadOnly | plan.NoSuid | plan.NoDev},
			dev(2, "null", 3),
			{Kind: plan.Scratch, Size: 64 << 20, Inodes: 10000, Mode: 0o755},
			{Kind: plan.Mkdir, Target: "/usr", Mode: 0o755},
			{Kind: plan.Mkdir, Target: "/proc", Mode: 0o755},
			{Kind: plan.Mkdir, Target: "/tmp", Mode: 0o1777, Flags: plan.JobOwned},
			{Kind: plan.Mkdir, Target: "/dev", Mode: 0o755},
			{Kind: plan.Mkdir, Target: "/dev/pts", Mode: 0o755},
			{Kind: plan.Symlink, Target: "/bin", Data: "usr/bin"},
			{Kind: plan.Symlink, Target: "/lib", Data: "usr/lib"},
			{Kind: plan.Symlink, Target: "/lib64", Data: "usr/lib64"},
			{Kind: plan.File, Target: "/dev/null", Mode: 0o644},
			{Kind: plan.Root},
			{Kind: plan.Bind, Handle: 1, Target: "/usr"},
			{Kind: plan.Bind, Handle: 2, Target: "/dev/null"},
			{Kind: plan.Proc, Target: "/proc"},
			{Kind: plan.Devpts, Target: "/dev/pts"},
			{Kind: plan.Mask, Target: "/proc/kcore"},
			{Kind: plan.Mask, Target: "/proc/nothing"},
			{Kind: plan.Mask, Target: "/proc/bus", Flags: plan.Directory},
			{Kind: plan.Sysctl, Target: "sys/user/max_user_namespaces", Data: "0"},
			{Kind: plan.Hostname, Data: "brig"},
			{Kind: plan.Loopback},
			{Kind: plan.OOMScore, Data: "500"},
			{Kind: plan.Pivot},
			{Kind: plan.Fork},
			{Kind: plan.InitIDs, UID: 1000, GID: 1000},
			{Kind: plan.InitDrop},
			{Kind: plan.Ready, Names: []string{ReadyProc, ReadyScratch, ReadyShm, ReadyPidfd}},
			{Kind: plan.Release},
			{Kind: plan.Session},
			{Kind: plan.Rlimit, Data: "core", Size: 1, Inodes: 1},
			{Kind: plan.JobIDs, UID: 1000, GID: 1000},
			{Kind: plan.Capabilities},
			{Kind: plan.Chdir, Target: "/tmp"},
			{Kind: plan.NoNewPrivs},
			{Kind: plan.Landlock, Names: []string{"/"}, Write: []string{"/tmp", "/dev"}},
			{Kind: plan.AwaitInit},
			{Kind: plan.Exec, Names: argv, Write: []string{"/usr/local/bin/" + argv[0], "/usr/bin/" + argv[0]}},
		},
	}
}

// launch starts a plan whose job's output goes to w.
func launch(t testing.TB, p *plan.Plan, w *os.File, with ...func(*Config)) (*Sandbox, error) {
	t.Helper()
	if err := plan.Check(p); err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if w == nil {
		w = null
	}
	cfg := &Config{
		Plan: p, Env: []string{"PATH=/usr/bin"}, Stdio: [3]uintptr{null.Fd(), w.Fd(), w.Fd()},
		WriteMaps: func(pid int) error { return writeMapsDirect(pid, &p.IDs) },
	}
	for _, f := range with {
		f(cfg)
	}
	return Start(cfg)
}

// start starts a plan and returns what the job printed and how it ended.
func start(t testing.TB, p *plan.Plan, with ...func(*Config)) (string, End, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := launch(t, p, w, with...)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	end, err := await(s)
	if err != nil && end == nil {
		return "", End{}, err
	}
	s.Kill() // what is left holds the pipe
	out, rerr := io.ReadAll(r)
	if rerr != nil {
		t.Fatal(rerr)
	}
	return string(out), *end, err
}

// await receives messages until the end.
func await(s *Sandbox) (*End, error) {
	for {
		m, err := s.Receive()
		switch {
		case err != nil:
			return nil, err
		case m.Failed != nil:
			return nil, m.Failed
		case m.End != nil && m.End.Failed != nil:
			return m.End, m.End.Failed
		case m.End != nil:
			return m.End, nil
		}
		for _, f := range m.Ready {
			f.Close()
		}
	}
}

// begin starts a plan and returns once the job's process is there. The sandbox
// is closed with the test.
func begin(t *testing.T, p *plan.Plan, w *os.File, with ...func(*Config)) *Sandbox {
	t.Helper()
	s, err := launch(t, p, w, with...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := s.Receive()
	if err != nil || m.Ready == nil {
		t.Fatalf("got %+v, %v", m, err)
	}
	for _, f := range m.Ready {
		f.Close()
	}
	return s
}

func writeMapsDirect(pid int, ids *plan.IDs) error {
	dir := "/proc/" + itoa(pid)
	if err := os.WriteFile(dir+"/uid_map", []byte(mapText(ids.UID)), 0); err != nil {
		return err
	}
	return os.WriteFile(dir+"/gid_map", []byte(mapText(ids.GID)), 0)
}

func TestEcho(t *testing.T) {
	sandboxtest.Need(t, "userns")
	out, end, err := start(t, small("echo", "hello"))
	if err != nil || out != "hello\n" || end.Status != 0 || !end.Alone {
		t.Fatalf("got %q, %+v, %v", out, end, err)
	}
}

func TestExecNotFound(t *testing.T) {
	sandboxtest.Need(t, "userns")
	_, _, err := start(t, small("no-such-program"))
	if e, ok := err.(*StepError); !ok || e.Op.Kind != plan.Exec || e.Errno != unix.ENOENT { //nolint:errorlint // the type itself is tested
		t.Fatalf("got %v", err)
	}
}

func itoa(i int) string { return strconv.Itoa(i) }
