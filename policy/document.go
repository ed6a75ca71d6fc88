package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// maxFile is the size of the largest policy file that is read, in bytes.
const maxFile = 1 << 20

// document is one policy file, parsed but not yet understood.
type document struct {
	// name is what messages call it.
	name  string
	layer Layer
	// base is the directory from which its relative paths count.
	base string
	text string
	tree map[string]any
	// order is its place among the layers.
	order int
	// lines is filled when a line is first asked for.
	lines map[string]int
}

// line is the line of the key at a path, or of the nearest table around it.
func (d *document) line(at string) int {
	if d.lines == nil {
		d.lines, _, _ = scanLines(d.text)
	}
	for at != "" {
		if line, ok := d.lines[at]; ok {
			return line
		}
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	return 1
}

// label is the name of the document in faults.
func (d *document) label() string {
	if d.layer == LayerShipped {
		return "shipped " + d.name
	}
	return d.name
}

// fault is a problem with the file as a whole.
func (d *document) fault(line int, problem string, cause error) *Fault {
	return &Fault{File: d.label(), Line: line, Problem: problem, Cause: cause, order: d.order}
}

// readDocument reads and parses the policy file at a path of fsys. trusted
// files are part of the program and are not searched for excesses.
func readDocument(fsys fs.FS, file string, d *document, trusted bool) *Fault {
	text, err := readFile(fsys, file)
	if err != nil {
		return d.fault(0, reason(err), err)
	}
	d.text = strings.TrimPrefix(string(text), "\ufeff") // editors put a byte order mark there
	if at := bytes.IndexByte(text, 0); at >= 0 {
		return d.fault(1+bytes.Count(text[:at], []byte("\n")), "it holds a NUL byte; a policy is text in UTF-8", nil)
	}
	if !utf8.Valid(text) {
		return d.fault(invalidLine(text), "it is not UTF-8", nil)
	}
	if !trusted {
		var line int
		var excess string
		if d.lines, line, excess = scanLines(d.text); excess != "" {
			return d.fault(line, "it has "+excess+"; no policy needs that", nil)
		}
	}
	tree, err := parseTOML(d.text)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			// Position.Line is that of the next line when the error is a newline.
			// Start can lie before the text, too: so far back does the lexer go.
			start := max(0, min(syntax.Position.Start, len(d.text)))
			line := 1 + strings.Count(d.text[:start], "\n")
			return d.fault(line, "it is not TOML: "+syntax.Message, err)
		}
		return d.fault(0, "it is not TOML: "+err.Error(), err)
	}
	d.tree = tree
	return nil
}

// reason is the cause of a file error without its path, which the fault names
// already.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return "it cannot be read: " + pathError.Err.Error()
	}
	return "it cannot be read: " + err.Error()
}

// readFile reads a regular file of at most maxFile bytes. Others are refused
// before they are opened: opening a pipe would wait for its writer.
func readFile(fsys fs.FS, file string) ([]byte, error) {
	info, err := fs.Stat(fsys, file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is larger than %s", Size(maxFile))
	}
	return text, nil
}

// invalidLine is the line of the first byte that is not UTF-8.
func invalidLine(text []byte) int {
	line := 1
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		text = text[n:]
	}
	return line
}

// tree takes what the parser found as it is: decoding into structs would
// report the first fault only.
type tree struct{ root map[string]any }

// UnmarshalTOML keeps the parsed document.
func (t *tree) UnmarshalTOML(v any) error {
	root, ok := v.(map[string]any)
	if !ok {
		return errors.New("it is not a table")
	}
	t.root = root
	return nil
}

// parseTOML turns a panic of the parser into an error: its input is anyone's.
func parseTOML(text string) (root map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("the parser failed: %.200v", r)
		}
	}()
	var t tree
	if _, err := toml.Decode(text, &t); err != nil {
		return nil, err
	}
	return t.root, nil
}

// isPath reports whether a policy was named by its file.
func isPath(name string) bool {
	return strings.Contains(name, "/") || strings.HasSuffix(name, ".toml")
}

// rooted is an absolute path as an fs.FS of the root directory wants it.
func rooted(file string) string {
	if file = strings.TrimPrefix(path.Clean(file), "/"); file != "" {
		return file
	}
	return "."
}
