package e2e

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Limits of length, in lines.
const (
	maxSource = 400
	maxTest   = 600
	maxADR    = 30
)

// TestLayout keeps the top level as it is meant to be.
func TestLayout(t *testing.T) {
	allowed := []string{
		"sandbox", "policy", "userns", "cmd", "configs", "e2e", "go.mod", "go.sum",
		"LICENSE", "README.md", "Makefile", ".ci", ".golangci.yml", ".gitignore",
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !built[entry.Name()] && !slices.Contains(allowed, entry.Name()) {
			t.Errorf("%s at the top level: it has no place in the layout", entry.Name())
		}
	}
}

func TestFileLengths(t *testing.T) {
	for _, f := range loadTree(t) {
		limit := maxSource
		switch {
		case f.ast != nil && ast.IsGenerated(f.ast):
			continue // a table that nobody reads from top to bottom
		case f.isTest():
			limit = maxTest
		case strings.Contains(f.path, "/adr/"):
			limit = maxADR
		}
		if f.lines > limit {
			t.Errorf("%s has %d lines, more than %d: two rooms in one?", f.path, f.lines, limit)
		}
	}
}

func TestPackages(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range goFiles(loadTree(t)) {
		dir := f.dir()
		documented[dir] = documented[dir] || f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != ""
		switch name := f.ast.Name.Name; strings.TrimSuffix(name, "_test") {
		case "util", "utils", "common", "helpers", "misc", "types":
			t.Errorf("%s: package %s says nothing about what it holds", f.path, name)
		}
		switch strings.TrimSuffix(filepath.Base(f.path), ".go") {
		case "util", "utils", "common", "helpers", "misc", "types":
			t.Errorf("%s: the name says nothing about what it holds", f.path)
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// undocumented lists the exported names of a file that have no comment. A
// comment on a group of constants or variables covers the group.
func undocumented(f sourceFile) []string {
	var found []string
	report := func(n ast.Node, name string) {
		found = append(found, fmt.Sprintf("%s:%d: %s is exported and has no comment", f.path, f.line(n), name))
	}
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil && !selfEvident(d) {
				report(d, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
						report(s, s.Name.Name)
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
							report(s, name.Name)
						}
					}
				}
			}
		}
	}
	return found
}

// selfEvident reports whether a method is one whose meaning an interface of
// the standard library fixes.
func selfEvident(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Error", "String", "Unwrap"}, d.Name.Name)
}

// exportedReceiver reports whether a function is no method or one of an
// exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.Ident:
			return e.IsExported()
		default:
			return true
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range goFiles(loadTree(t)) {
		if f.isTest() {
			continue
		}
		for _, violation := range undocumented(f) {
			t.Error(violation)
		}
	}
}

// namespaceCalls change the namespaces or mounts of the caller. They happen in
// programs that init runs, and there they are data.
var namespaceCalls = []string{
	"Mount", "Unmount", "PivotRoot", "Chroot", "Unshare", "Setns", "MoveMount", "OpenTree",
	"Fsopen", "Fsconfig", "Fsmount", "Fspick", "MountSetattr",
}

// namespaceNumbers are the same calls by number.
var namespaceNumbers = []string{
	"SYS_MOUNT", "SYS_UMOUNT2", "SYS_PIVOT_ROOT", "SYS_CHROOT", "SYS_UNSHARE", "SYS_SETNS", "SYS_MOVE_MOUNT",
	"SYS_OPEN_TREE", "SYS_FSOPEN", "SYS_FSCONFIG", "SYS_FSMOUNT", "SYS_FSPICK", "SYS_MOUNT_SETATTR",
}

// systemCallViolations finds calls of unix.Mount and its like, and raw system
// calls with their numbers.
func systemCallViolations(f sourceFile) []string {
	var found []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		pkg, name := selector(call.Fun)
		if pkg != "unix" && pkg != "syscall" {
			return true
		}
		direct := slices.Contains(namespaceCalls, name)
		raw := false
		if strings.Contains(name, "Syscall") && len(call.Args) > 0 {
			_, number := selector(call.Args[0])
			raw = slices.Contains(namespaceNumbers, number)
		}
		if direct && slices.Contains(detachedCalls[f.path], name) {
			return true
		}
		if direct || raw {
			found = append(found, fmt.Sprintf("%s:%d: %s.%s: mounts and namespaces are changed in programs run by init only",
				f.path, f.line(call), pkg, name))
		}
		return true
	})
	return found
}

// detachedCalls are what may be called outside: copies of a mount that is in no
// namespace, with owners that root's sandboxes need and only root can give.
var detachedCalls = map[string][]string{
	"sandbox/launch/view.go":       {"OpenTree", "MountSetattr"},
	"sandbox/sandboxtest/idmap.go": {"OpenTree", "MountSetattr"},
}

// selector splits pkg.Name.
func selector(expr ast.Expr) (pkg, name string) {
	s, ok := expr.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return x.Name, s.Sel.Name
}

func TestNamespacesChangeInInitOnly(t *testing.T) {
	for _, f := range goFiles(loadTree(t)) {
		if f.isTest() {
			continue
		}
		for _, violation := range systemCallViolations(f) {
			t.Error(violation)
		}
	}
}

// impure are the packages whose functions ask or change the system.
var impure = []string{"os", "exec", "syscall", "unix", "net", "probe"}

// purityViolations finds calls into those packages.
func purityViolations(f sourceFile) []string {
	var found []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			// Conversions such as unix.Signal(n) and pure formatting are no system calls.
			pure := []string{"Signal", "Errno", "SignalName", "ErrnoName", "SignalNum"}
			pkg, name := selector(call.Fun)
			if slices.Contains(impure, pkg) && !slices.Contains(pure, name) {
				found = append(found, fmt.Sprintf("%s:%d: %s.%s: facts come in the Host, files in an fs.FS",
					f.path, f.line(call), pkg, name))
			}
		}
		return true
	})
	return found
}

func TestResolveIsPure(t *testing.T) {
	for _, f := range goFiles(loadTree(t)) {
		resolves := f.dir() == "sandbox" && strings.HasPrefix(filepath.Base(f.path), "resolve")
		if f.isTest() || f.dir() != "policy" && !resolves {
			continue
		}
		for _, violation := range purityViolations(f) {
			t.Error(violation)
		}
	}
}

// loadCost finds what would run when a program is loaded: init functions and
// regular expressions compiled for package variables.
func loadCost(f sourceFile) []string {
	var found []string
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				found = append(found, fmt.Sprintf("%s:%d: an init function is paid by every run of brig", f.path, f.line(d)))
			}
		case *ast.GenDecl:
			if d.Tok != token.VAR {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if _, ok := n.(*ast.FuncLit); ok {
					return false // runs when it is called
				}
				if call, ok := n.(*ast.CallExpr); ok {
					if pkg, name := selector(call.Fun); pkg == "regexp" {
						found = append(found, fmt.Sprintf("%s:%d: regexp.%s is paid by every run of brig", f.path, f.line(call), name))
					}
				}
				return true
			})
		}
	}
	return found
}

func TestNothingRunsAtLoad(t *testing.T) {
	for _, f := range goFiles(loadTree(t)) {
		if f.isTest() {
			continue
		}
		for _, violation := range loadCost(f) {
			t.Error(violation)
		}
	}
}

// TestNothingUnfinished finds what was put off and skips that nobody sees.
func TestNothingUnfinished(t *testing.T) {
	// In two halves, so that this file does not find itself.
	marks := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "not yet " + "implemented", "un" + "implemented"}
	for _, f := range loadTree(t) {
		for number, line := range strings.Split(f.text, "\n") {
			for _, mark := range marks {
				if strings.Contains(line, mark) && !strings.Contains(line, mark+mark[:1]) {
					t.Errorf("%s:%d: %s", f.path, number+1, mark)
				}
			}
			if f.isTest() && f.dir() != "sandbox/sandboxtest" && strings.Contains(strings.ReplaceAll(line, "SkipsVariable", ""), "t.Sk"+"ip") {
				t.Errorf("%s:%d: a skip that is not sandboxtest.Need or Lacks can neither be listed nor revoked", f.path, number+1)
			}
		}
	}
}
