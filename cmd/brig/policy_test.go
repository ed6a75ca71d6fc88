package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runPolicy runs `brig policy ARGS...` with a fresh home directory, in a
// project's directory below it, and returns what it printed.
func runPolicy(t *testing.T, files map[string]string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	project := filepath.Join(home, "project")
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(project, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(project)
	cmd := newPolicyCommand()
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.Execute()
	return strings.ReplaceAll(out.String(), home, "HOME"), strings.ReplaceAll(errs.String(), home, "HOME"), err
}

func TestPolicyList(t *testing.T) {
	files := map[string]string{
		".config/brig/default.toml": "version = 1\ndescription = \"mine\\u0009\"\n",
		".config/brig/own.toml":     "version = 1\nextends = \"strict\"\ndescription = \"my own\"\n",
		".config/brig/notes.txt":    "",
		"project/trap.toml":         "version = 1\n",
	}
	out, _, err := runPolicy(t, files, "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"strict   shipped  ", "own      HOME/.config/brig/own.toml", "my own\n",
		"cannot be loaded; see brig policy check HOME/.config/brig/default.toml\n",
	} {
		if !strings.Contains(collapse(out), collapse(want)) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "trap") || strings.Contains(out, "notes") {
		t.Errorf("too much is listed:\n%s", out)
	}
}

// collapse makes runs of blanks one, since columns depend on path lengths.
func collapse(s string) string {
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}

func TestPolicyShow(t *testing.T) {
	out, _, err := runPolicy(t, nil, "show", "--set", "limits.memory=64m")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nmemory = \"64MiB\"\n", "\nsource = \"HOME/project\"\n", "\nuid = 1000\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	out, _, err = runPolicy(t, map[string]string{"project/own.toml": "version = 1\n[environment.set]\nA = \"\\u001b[31m\\u202e\\U000e0001\"\n"},
		"show", "--json", "./own.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, `"A": "\u001b[31m\u202e\udb40\udc01"`) {
		t.Errorf("control characters are not escaped in %q", out)
	}
	var tree map[string]any
	if err := json.Unmarshal([]byte(out), &tree); err != nil || tree["version"] != 1.0 {
		t.Errorf("%v, %v", tree, err)
	}
}

func TestPolicyCheck(t *testing.T) {
	files := map[string]string{
		"project/good.toml":  "version = 1\nextends = \"judge\"\n",
		"project/bad.toml":   "version = 1\n[limits]\nmemroy = \"1GiB\"\nmemory = \"1\\u001bB\"\n",
		"project/worse.toml": "version = 1\n[limits\n",
	}
	out, errs, err := runPolicy(t, files, "check", "good.toml", "bad.toml", "./worse.toml", "none")
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != 125 || exit.err != nil {
		t.Errorf("got %v, want a silent exit with 125", err)
	}
	if out != "good.toml: ok\n" {
		t.Errorf("stdout %q", out)
	}
	want := `HOME/project/bad.toml:3: limits.memroy: there is no such key in [limits]; did you mean "memory"?
HOME/project/bad.toml:4: limits.memory: "1\x1bB" is not accepted: "\x1bB" is not a unit; write a size from 1MiB to 1024TiB in B, kB, KiB, MB, MiB, GB, GiB, TB or TiB, such as "256MiB", or "unlimited"
HOME/project/worse.toml:2: it is not TOML: expected '.' or ']' to end table name, but got '\n' instead
HOME/project/none: it cannot be read: no such file or directory
`
	if errs != want {
		t.Errorf("stderr\n%s\nwant\n%s", errs, want)
	}
	out, _, err = runPolicy(t, files, "check", "--json", "good.toml", "bad.toml")
	if !errors.As(err, &exit) || exit.code != 125 {
		t.Errorf("got %v, want exit 125", err)
	}
	var reports []checkReport
	if err := json.Unmarshal([]byte(out), &reports); err != nil || len(reports) != 2 || len(reports[0].Faults) != 0 ||
		len(reports[1].Faults) != 2 || reports[1].Faults[0].Line != 3 || reports[1].Faults[0].Key != "limits.memroy" {
		t.Errorf("%+v, %v", reports, err)
	}
	if _, _, err = runPolicy(t, files, "check", "good.toml"); err != nil {
		t.Errorf("a good file: %v", err)
	}
}

func TestPolicyExplain(t *testing.T) {
	out, _, err := runPolicy(t, map[string]string{".config/brig/judge.toml": "version = 1\n[limits]\npids = 7\n"},
		"explain", "judge", "--set", "limits.cpus=2")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"KEY VALUE SET BY\n", "limits.pids 7 HOME/.config/brig/judge.toml:3\n", "limits.cpus 2.0 --set limits.cpus\n",
		"limits.wall_time \"10s\" shipped judge.toml:13\n", "limits.cpu_weight 100 default\n",
	} {
		if !strings.Contains(collapse(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	out, _, err = runPolicy(t, nil, "explain", "judge", "--json")
	if err != nil || !strings.Contains(out, "\"origin\": {\n      \"layer\": \"shipped\",\n      \"name\": \"judge.toml\",\n      \"line\": 13\n") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"explain", "nosuch"}, {"explain", "--set", "limits.pids"}, {"show", "--set", "=1"}} {
		if _, _, err := runPolicy(t, nil, args...); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestPolicySchema(t *testing.T) {
	out, _, err := runPolicy(t, nil, "schema")
	var schema map[string]any
	if err != nil || json.Unmarshal([]byte(out), &schema) != nil || schema["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("%v\n%s", err, out)
	}
}
