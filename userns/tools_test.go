package userns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// vfsCaps is the security.capability attribute that setcap writes.
func vfsCaps(revision uint32, effective bool, permitted uint32, root uint32) []byte {
	if effective {
		revision |= 1
	}
	b := binary.LittleEndian.AppendUint32(nil, revision)
	for _, v := range []uint32{permitted, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	if revision&0xff000000 == 0x03000000 {
		b = binary.LittleEndian.AppendUint32(b, root)
	}
	return b
}

func TestDiagnoseTool(t *testing.T) {
	const v2, v3 = 0x02000000, 0x03000000
	const setuid, setgid = 1 << unix.CAP_SETUID, 1 << unix.CAP_SETGID
	good := ToolFacts{Name: "newuidmap", Path: "/usr/bin/newuidmap", Executable: true, Setuid: true}
	with := func(change func(*ToolFacts)) ToolFacts {
		f := good
		change(&f)
		return f
	}
	caps := func(name string, attr []byte) ToolFacts {
		return ToolFacts{Name: name, Path: "/usr/bin/" + name, Executable: true, FileCaps: attr}
	}
	const chmod = "sudo chown root:root /usr/bin/newuidmap && sudo chmod 4755 /usr/bin/newuidmap"
	for name, tt := range map[string]struct {
		facts              ToolFacts
		reason, cause, fix string
	}{
		"set-uid root":        {facts: good},
		"file capability":     {facts: caps("newuidmap", vfsCaps(v2, true, setuid, 0))},
		"group capability":    {facts: caps("newgidmap", vfsCaps(v2, true, setgid, 0))},
		"own namespace's":     {facts: caps("newuidmap", vfsCaps(v3, true, setuid, 0))},
		"both, bad attribute": {facts: with(func(f *ToolFacts) { f.FileCaps = []byte{1} })},
		"missing":             {ToolFacts{Name: "newgidmap"}, "tool-missing", "newgidmap is not installed", packages},
		"not executable": {
			with(func(f *ToolFacts) { f.Executable = false }),
			"tool-not-executable", "/usr/bin/newuidmap cannot be executed by this user", chmod,
		},
		"plain": {
			with(func(f *ToolFacts) { f.Setuid = false }),
			"tool-not-setuid", "/usr/bin/newuidmap is neither set-uid root nor has it the file capability cap_setuid", chmod,
		},
		"set-uid somebody": {
			with(func(f *ToolFacts) { f.Owner = 1000 }),
			"tool-not-setuid", "/usr/bin/newuidmap is set-uid, but belongs to uid 1000 and not to root", chmod,
		},
		"wrong capability": {
			caps("newgidmap", vfsCaps(v2, true, setuid, 0)),
			"tool-without-capability", "/usr/bin/newgidmap has file capabilities, but cap_setgid is not among them", "sudo setcap cap_setgid=ep /usr/bin/newgidmap",
		},
		"capability not effective": {
			caps("newuidmap", vfsCaps(v2, false, setuid, 0)),
			"tool-without-capability", "/usr/bin/newuidmap has file capabilities, but cap_setuid is not effective", "sudo setcap cap_setuid=ep /usr/bin/newuidmap",
		},
		"another namespace's": {
			caps("newuidmap", vfsCaps(v3, true, setuid, 1000)),
			"tool-without-capability", "/usr/bin/newuidmap has file capabilities, but cap_setuid holds only in another user namespace", "sudo setcap cap_setuid=ep /usr/bin/newuidmap",
		},
		"revision 1": {
			caps("newuidmap", vfsCaps(0x01000000, true, setuid, 0)),
			"tool-without-capability", "/usr/bin/newuidmap has file capabilities, but cap_setuid cannot be read from them", "sudo setcap cap_setuid=ep /usr/bin/newuidmap",
		},
		"short attribute": {
			caps("newuidmap", []byte{0, 0, 0, 2}),
			"tool-without-capability", "/usr/bin/newuidmap has file capabilities, but cap_setuid cannot be read from them", "sudo setcap cap_setuid=ep /usr/bin/newuidmap",
		},
		"nosuid": {
			with(func(f *ToolFacts) { f.Nosuid = true }),
			"tool-on-nosuid-mount", "/usr/bin/newuidmap lies on a file system mounted nosuid, so it gains no privileges", "",
		},
		"no_new_privs": {
			with(func(f *ToolFacts) { f.NoNewPrivs = true }),
			"no-new-privs", "no_new_privs is set on this process, so /usr/bin/newuidmap gains no privileges", "",
		},
		"bounding set": {
			with(func(f *ToolFacts) { f.Bounded = true }),
			"tool-capability-bounded", "cap_setuid is missing in this process's bounding set, so /usr/bin/newuidmap cannot gain it", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := DiagnoseTool(tt.facts)
			if tt.reason == "" {
				if p != nil {
					t.Fatal(p)
				}
				return
			}
			if p == nil {
				t.Fatal("no problem seen")
			}
			wantProblem(t, p, Reason(tt.reason), tt.cause)
			if tt.fix != "" && p.Fix != tt.fix {
				t.Errorf("fix is %q, want %q", p.Fix, tt.fix)
			}
		})
	}
}

// Facts of real files: modes and attributes as the kernel stores them.
func TestReadToolFacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "newuidmap")
	if _, err := ReadToolFacts("newuidmap", path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	read := func() ToolFacts {
		t.Helper()
		f, err := ReadToolFacts("newuidmap", path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := read(); f.Executable || f.Setuid || f.FileCaps != nil || int(f.Owner) != os.Geteuid() {
		t.Errorf("plain file: %+v", f)
	}
	if err := os.Chmod(path, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if f := read(); !f.Executable || !f.Setuid {
		t.Errorf("set-uid file: %+v", f)
	}
	if os.Geteuid() != 0 {
		return // file capabilities can be set by root alone
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	for attr, want := range map[string]Reason{
		string(vfsCaps(0x02000000, true, 1<<unix.CAP_SETUID, 0)): "",
		string(vfsCaps(0x02000000, true, 1<<unix.CAP_SETGID, 0)): ToolNoCapability,
	} {
		if err := unix.Setxattr(path, "security.capability", []byte(attr), 0); err != nil {
			sandboxtest.Lacks(t, "xattr", fmt.Errorf("setting file capabilities: %w", err))
		}
		p := DiagnoseTool(read())
		if want == "" && p != nil || want != "" && (p == nil || p.Reason != want) {
			t.Errorf("capabilities %x: %v, want %q", attr, p, want)
		}
	}
}

func TestFindTools(t *testing.T) {
	tools := needTools(t)
	for _, path := range []string{tools.NewUIDMap, tools.NewGIDMap} {
		if !filepath.IsAbs(path) || !isExecutable(path) {
			t.Errorf("%q", path)
		}
	}
}

// A tool that cannot work does not hide one that can, and a relative entry of
// PATH is never followed.
func TestFindMapToolAlongPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "brig-no-such-tool"), nil, 0o755); err != nil { //nolint:gosec // it must be executable
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PATH", ".::"+filepath.Base(dir))
	_, err := findMapTool("brig-no-such-tool")
	wantProblem(t, err, ToolMissing, "brig-no-such-tool is not installed")
	t.Setenv("PATH", dir)
	_, err = findMapTool("brig-no-such-tool")
	if !errors.Is(err, ToolNotSetuid) && !errors.Is(err, ToolNosuidMount) && !errors.Is(err, ToolNoNewPrivs) {
		t.Errorf("plain file in PATH: %v", err)
	}
}

func needTools(t testing.TB) Tools {
	t.Helper()
	tools, err := FindTools()
	if err != nil {
		sandboxtest.Lacks(t, "newuidmap", err)
	}
	return tools
}
