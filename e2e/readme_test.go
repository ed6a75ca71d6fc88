package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// example is one command of a console block, with what it prints.
type example struct {
	line    int    // of the README
	command string // may have several lines
	output  []string
	needs   []string // features of the host, as sandboxtest.Need has them
}

// examples reads the console blocks of a Markdown file. A line that begins with
// "$ " is a command, lines that begin with ">" go on with it, the others are
// what it prints. A comment "<!-- needs: … -->" right before a block names what
// the host must have.
func examples(text string) ([]example, error) {
	var list []example
	var needs []string
	inside := false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case !inside && strings.HasPrefix(line, "<!-- needs:"):
			needs = strings.Fields(strings.TrimSuffix(strings.TrimPrefix(line, "<!-- needs:"), "-->"))
		case !inside && line == "```console":
			inside = true
		case !inside:
			if line != "" {
				needs = nil
			}
		case line == "```":
			inside, needs = false, nil
		case strings.HasPrefix(line, "$ "):
			list = append(list, example{line: i + 1, command: line[2:], needs: needs})
		case len(list) == 0:
			return nil, fmt.Errorf("line %d: output before the first command", i+1)
		case line == ">" || strings.HasPrefix(line, "> "):
			list[len(list)-1].command += "\n" + strings.TrimPrefix(strings.TrimPrefix(line, ">"), " ")
		default:
			list[len(list)-1].output = append(list[len(list)-1].output, line)
		}
	}
	if inside {
		return nil, errors.New("the last block has no end")
	}
	return list, nil
}

// shown makes a pattern of what the README shows: "..." stands for any text
// within a line, and alone on a line for any number of lines.
func shown(lines []string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("^")
	for _, line := range lines {
		if strings.TrimSpace(line) == "..." {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, ".*") + `\n`)
	}
	b.WriteString("$")
	return regexp.Compile(b.String())
}

// TestReadme runs the README's examples one after the other, in one directory
// that is not below the home. Each must succeed and print what is shown.
func TestReadme(t *testing.T) {
	sandboxtest.Leaks(t)
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := examples(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 10 {
		t.Fatalf("found %d examples; the README has more", len(list))
	}
	work, home := t.TempDir(), t.TempDir()
	if os.Geteuid() == 0 { // root's sandboxes have ids that cannot enter root's directories
		if err := os.Chmod(filepath.Dir(work), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, ex := range list {
		t.Run(fmt.Sprintf("line %d", ex.line), func(t *testing.T) {
			sandboxtest.Need(t, append([]string{"userns"}, ex.needs...)...)
			cmd := exec.Command("sh", "-c", ex.command)
			cmd.Dir = work
			cmd.Env = []string{
				"PATH=" + brigDir + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "LANG=C.UTF-8", "TMPDIR=" + os.TempDir(),
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", ex.command, err, out)
			}
			pattern, err := shown(ex.output)
			if err != nil {
				t.Fatal(err)
			}
			if !pattern.Match(out) {
				t.Errorf("%s\nprints\n%s\nthe README shows\n%s", ex.command, out, strings.Join(ex.output, "\n"))
			}
		})
	}
}

// TestReadmeLibraryExample compares the README's Go with the example that go
// test runs.
func TestReadmeLibraryExample(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "```go\n")
	block, _, closed := strings.Cut(after, "```\n")
	if !found || !closed {
		t.Fatal("the README has no block of Go")
	}
	source, err := os.ReadFile(filepath.Join("..", "sandbox", "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(source), block) {
		t.Errorf("sandbox/example_test.go does not hold what the README shows:\n%s", block)
	}
}

// TestReadmeNames finds files that the README names and that are not there.
func TestReadmeNames(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:sandbox|policy|configs|cmd|e2e)/[a-z0-9_./-]+)`").FindAllStringSubmatch(string(text), -1)
	if len(names) < 8 {
		t.Fatalf("found %d names; the pattern is broken", len(names))
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join("..", name[1])); err != nil {
			t.Errorf("the README names %s: %v", name[1], err)
		}
	}
}

func TestExamplesAreRead(t *testing.T) {
	const text = "text\n<!-- needs: gcc subid -->\n```console\n$ cat >f <<'EOF'\n> a\n>\n> EOF\n$ b\n1\n\n2\n```\n\n```console\n$ c\n```\n```sh\n$ not this\n```\n"
	list, err := examples(text)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d examples, %v", len(list), err)
	}
	if want := "cat >f <<'EOF'\na\n\nEOF"; list[0].command != want {
		t.Errorf("command %q, want %q", list[0].command, want)
	}
	if want := []string{"1", "", "2"}; list[1].line != 8 || !slices.Equal(list[1].output, want) {
		t.Errorf("line %d, output %q; want 8, %q", list[1].line, list[1].output, want)
	}
	if !slices.Equal(list[1].needs, []string{"gcc", "subid"}) || list[2].needs != nil {
		t.Errorf("needs %q and %q", list[1].needs, list[2].needs)
	}
	for _, bad := range []string{"```console\noutput\n```\n", "```console\n$ true\n"} {
		if _, err := examples(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestShown(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		text  string
		want  bool
	}{
		{nil, "", true},
		{nil, "unexpected\n", false},
		{[]string{"a"}, "a\n", true},
		{[]string{"a"}, "ab\n", false},
		{[]string{"a.b"}, "axb\n", false},
		{[]string{"a...c"}, "abc\n", true},
		{[]string{"a...c"}, "a\nc\n", false},
		{[]string{"...", "z"}, "a\nb\nz\n", true},
		{[]string{"a", "...", "z"}, "a\nz\n", true},
		{[]string{"a", "...", "z"}, "a\nb\n", false},
	} {
		pattern, err := shown(tt.lines)
		if err != nil {
			t.Fatal(err)
		}
		if got := pattern.MatchString(tt.text); got != tt.want {
			t.Errorf("%q with %q: %v, want %v", tt.lines, tt.text, got, tt.want)
		}
	}
}
