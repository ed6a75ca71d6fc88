package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// importRule forbids imports in the files that match from. An import is
// allowed when it matches one of except. Patterns are path.Match patterns of
// directories; a trailing /... takes in everything below.
type importRule struct {
	from   []string
	deny   []string
	except []string
	reason string
}

// importRules are the directions of imports. Tests are free to import more.
var importRules = []importRule{
	{
		from:   []string{"policy/seccomp", "userns", "sandbox/plan", "sandbox/rootfs", "sandbox/changes", "sandbox/atomicfile"},
		deny:   []string{module + "/..."},
		reason: "leaf packages import nothing of brig",
	},
	{
		from:   []string{"policy"},
		deny:   []string{module + "/..."},
		except: []string{module + "/policy/seccomp"},
		reason: "policy imports only policy/seccomp",
	},
	{
		from:   []string{"policy"},
		deny:   []string{"os", "os/...", "syscall", "golang.org/x/sys/..."},
		reason: "policy makes no system calls: files come in through an fs.FS",
	},
	{
		from: []string{"sandbox"},
		deny: []string{module + "/..."},
		except: []string{
			module + "/policy", module + "/policy/seccomp", module + "/userns", module + "/sandbox/plan",
			module + "/sandbox/launch", module + "/sandbox/probe", module + "/sandbox/cgroup", module + "/sandbox/rootfs",
		},
		reason: "sandbox imports policy, userns, plan, launch, probe, cgroup and rootfs",
	},
	{
		from:   []string{"policy/...", "userns", "sandbox/..."},
		deny:   []string{module + "/cmd/...", module + "/configs", module + "/e2e/..."},
		reason: "libraries do not know the commands, the shipped files or the tests",
	},
	{
		from:   []string{"sandbox/launch/...", "sandbox/probe", "sandbox/cgroup", "sandbox/network"},
		deny:   []string{module + "/sandbox", module + "/sandbox/image", module + "/sandbox/engine", module + "/sandbox/judge"},
		reason: "what sandbox is built from does not know what is built on it",
	},
	{
		from:   []string{"sandbox/image/..."},
		deny:   []string{module + "/sandbox", module + "/sandbox/launch", module + "/sandbox/engine", module + "/sandbox/judge"},
		reason: "images yield layers and mounts and run nothing",
	},
	{
		from:   []string{"cmd/brig", "configs", "policy", "policy/seccomp", "userns", "sandbox/..."},
		deny:   []string{module + "/policy/seccomp/libseccomp", "github.com/seccomp/..."},
		reason: "only cmd/brig-filterc links libseccomp",
	},
	{
		from:   []string{"policy/...", "userns", "sandbox/...", "cmd/...", "configs"},
		deny:   []string{"log", "log/...", "testing", "testing/...", "github.com/google/go-cmp/...", "github.com/rogpeppe/..."},
		except: []string{"testing/fstest"},
		reason: "no logging, and no test framework in programs",
	},
}

// testSupport holds directories whose code is linked into tests only.
var testSupport = []string{"sandbox/sandboxtest"}

// matches reports whether a path matches one of the patterns.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if prefix, below := strings.CutSuffix(pattern, "/..."); below {
			return name == prefix || strings.HasPrefix(name, prefix+"/")
		}
		ok, err := path.Match(pattern, name)
		return err == nil && ok
	})
}

// importViolations applies the rules to one file.
func importViolations(f sourceFile) []string {
	var found []string
	if f.isTest() || matches(testSupport, f.dir()) {
		return nil
	}
	for _, rule := range importRules {
		if !matches(rule.from, f.dir()) {
			continue
		}
		for _, imported := range f.imports() {
			if matches(rule.deny, imported) && !matches(rule.except, imported) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", f.path, imported, rule.reason))
			}
		}
	}
	for _, imported := range f.imports() {
		if imported == "C" && f.dir() != "policy/seccomp/libseccomp" {
			found = append(found, f.path+" uses cgo: that is for policy/seccomp/libseccomp alone")
		}
		if imported == module+"/sandbox/sandboxtest" && !strings.HasPrefix(f.path, "e2e/") {
			found = append(found, f.path+" imports sandboxtest: that is for tests")
		}
	}
	return found
}

func TestImportDirections(t *testing.T) {
	for _, f := range goFiles(loadTree(t)) {
		for _, violation := range importViolations(f) {
			t.Error(violation)
		}
	}
}

// TestImportRulesBite breaks each rule once.
func TestImportRulesBite(t *testing.T) {
	for _, tt := range []struct{ path, imported string }{
		{"policy/seccomp/x.go", module + "/policy"},
		{"userns/x.go", module + "/sandbox/plan"},
		{"sandbox/changes/x.go", module + "/sandbox/engine"},
		{"sandbox/atomicfile/x.go", module + "/userns"},
		{"policy/x.go", module + "/userns"},
		{"policy/x.go", "os"},
		{"sandbox/x.go", module + "/sandbox/engine"},
		{"sandbox/launch/x.go", module + "/configs"},
		{"sandbox/launch/x.go", module + "/sandbox"},
		{"sandbox/image/layer/x.go", module + "/sandbox/launch"},
		{"cmd/brig/x.go", "github.com/seccomp/libseccomp-golang"},
		{"cmd/brig/x.go", "C"},
		{"sandbox/x.go", "log/slog"},
		{"sandbox/x.go", module + "/sandbox/sandboxtest"},
	} {
		f, err := parseSource(tt.path, fmt.Sprintf("package x\nimport %q\n", tt.imported))
		if err != nil {
			t.Fatal(err)
		}
		if len(importViolations(f)) == 0 {
			t.Errorf("%s may import %s", tt.path, tt.imported)
		}
	}
	allowed, err := parseSource("sandbox/x.go", fmt.Sprintf("package x\nimport %q\nimport %q\n", "os", module+"/sandbox/plan"))
	if err != nil {
		t.Fatal(err)
	}
	if found := importViolations(allowed); len(found) > 0 {
		t.Errorf("refused what is allowed: %v", found)
	}
}

// TestBrigLinksNothingHeavy looks at what is linked into bin/brig: each start
// pays for the initialisation of every package in it.
func TestBrigLinksNothingHeavy(t *testing.T) {
	sandboxtest.Need(t, "modules")
	cmd := exec.Command("go", "list", "-deps", module+"/cmd/brig")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list without cgo: %v", err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, "github.com/spf13/cobra") {
		t.Fatal("cobra is not among the dependencies; the list is wrong")
	}
	for _, heavy := range []struct{ pkg, reason string }{
		{"net/http", "belongs to brigd and to sandbox/image"},
		{"crypto/tls", "belongs to brigd and to sandbox/image"},
		{"runtime/cgo", "bin/brig is static"},
		{"github.com/spf13/cobra/doc", "is for the build tag docs"},
		{"github.com/seccomp/libseccomp-golang", "belongs to brig-filterc"},
		{"testing", "is for tests"},
		{module + "/sandbox/image/archive", "belongs to brig-image"},
		{"github.com/klauspost/compress/zstd", "belongs to brig-image"},
	} {
		if slices.Contains(linked, heavy.pkg) {
			t.Errorf("bin/brig links %s, which %s", heavy.pkg, heavy.reason)
		}
	}
}
