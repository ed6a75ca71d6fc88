//go:build machines

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// groupScripts are the scripts of the suite to whose outcome control groups and
// service managers contribute.
var groupScripts = regexp.MustCompile("^(cgroup-manager|delegation|doctor|isolation_cgroup|judge|lesson-09-.*|" +
	"limit-memory.*|memory_.*|peak_.*|result|stats|usage)$")

// usersScript is what a script is called, or says, that runs as an ordinary user
// where each runs once.
var usersScript = regexp.MustCompile(`(?m)^(lesson|limit)-|^need .*\bunprivileged\b`)

// suite runs all that looks at a kernel, with fewer sandboxes in the tests that
// make many. Shared, each role has its part of it: an ordinary user what needs one,
// the lessons, the limits and what is no script, root the other scripts and full
// disks, and both what control groups and service managers contribute to.
func (g *guest) suite(t *testing.T, s *session) {
	t.Helper()
	skip := "^(" + outside + "|TestMachine)$"
	if g.shared {
		skip += "|^TestScripts$/^(" + strings.Join(others(t, s == g.user), "|") + ")$"
	}
	args := []string{"-test.skip", skip}
	if g.shared && s == g.root {
		args = append(args, "-test.run", "^(TestScripts|TestFullDisk.*)$")
	}
	if g.slow {
		args = append(args, "-runs=60")
	}
	g.test(t, s, "e2e", nil, nil, args...)
}

// others are the scripts that the other role runs.
func others(t *testing.T, user bool) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		users := usersScript.MatchString(name) || usersScript.Match(text)
		if !groupScripts.MatchString(name) && users != user {
			names = append(names, regexp.QuoteMeta(name))
		}
	}
	t.Logf("left to the other role: %s", strings.Join(names, " "))
	return names
}
