package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// module is the import path of this repository.
const module = "github.com/brig-sandbox/brig"

// sourceFile is one file of the repository as the architecture test sees it.
type sourceFile struct {
	path  string // slash-separated, relative to the repository
	text  string
	lines int
	ast   *ast.File // Go files only
	fset  *token.FileSet
}

func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }
func (f sourceFile) dir() string  { return filepath.ToSlash(filepath.Dir(f.path)) }

// line is the line of a node, for messages.
func (f sourceFile) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

// imports lists the paths that a Go file imports.
func (f sourceFile) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// parseSource makes a sourceFile from text; Go files are parsed.
func parseSource(path, text string) (sourceFile, error) {
	f := sourceFile{path: path, text: text, lines: strings.Count(text, "\n"), fset: token.NewFileSet()}
	if strings.HasSuffix(path, ".go") {
		var err error
		f.ast, err = parser.ParseFile(f.fset, path, text, parser.ParseComments)
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// built names the directories that hold what make builds.
var built = map[string]bool{".git": true, "bin": true, "dist": true, "vendor": true}

// loadTree reads the sources of the repository: Go, C, shell and Markdown.
func loadTree(t *testing.T) []sourceFile {
	t.Helper()
	root := ".."
	var files []sourceFile
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if built[entry.Name()] || entry.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".c", ".h", ".S", ".sh", ".md":
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file, err := parseSource(filepath.ToSlash(relative), string(text))
		files = append(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("found %d files; the walk is broken", len(files))
	}
	return files
}

// goFiles keeps the parsed ones.
func goFiles(files []sourceFile) []sourceFile {
	var kept []sourceFile
	for _, f := range files {
		if f.ast != nil {
			kept = append(kept, f)
		}
	}
	return kept
}
