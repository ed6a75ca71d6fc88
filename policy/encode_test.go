package policy_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full sets every key, each list and table with more than one entry.
const full = `version = 1
description = "a \"quoted\" \\ one"
[limits]
wall_time = "1m30s"
cpu_time = "2s"
cpus = 1
cpu_weight = 5
cpuset = "0-1,3"
cpuset_mems = "0"
memory = "256MiB"
swap = "unlimited"
memory_low = "1MB"
memory_high = "200MiB"
pids = "unlimited"
open_files = 256
file_size = "0"
stack = "64MiB"
output = "1500kB"
scratch = "unlimited"
scratch_inodes = 100
[limits.ulimit]
memlock = "64KiB"
nice = { soft = 0, hard = "unlimited" }
[[limits.io]]
device = "disk \u001b"
read_bps = "1MiB"
write_iops = 5
[[limits.io]]
device = "/dev/sda"
write_bps = "1MiB"
read_iops = 5
[enforcement]
limits = "best-effort"
[filesystem]
root = "dir:rootfs"
read_only = true
workdir = "/work"
copy_command = true
allow_home = true
[[filesystem.mount]]
source = "."
target = "/work"
access = "copy"
optional = true
[[filesystem.mount]]
type = "tmpfs"
target = "/tmp"
size = "64MiB"
[user]
map = "keep-id"
uid = 0
gid = 5
capabilities = ["CAP_CHOWN", "CAP_KILL"]
[network]
mode = "user"
loopback = false
[seccomp]
base = "default"
allow = ["ptrace"]
deny = ["socket"]
on_deny = "kill"
[[seccomp.rule]]
names = ["lseek"]
action = "EFBIG"
args = [{ index = 1, op = "masked_eq", value = 0, mask = "0xffffffff00000000" }]
[environment]
inherit = ["LANG", "PATH"]
set = { "ODD NAME" = "\u009b", B = "\n" }
`

// TestEncode: what is encoded loads as the same policy, on its own.
func TestEncode(t *testing.T) {
	texts := map[string]string{"full": full, "empty": "version = 1"}
	for _, name := range policy.ShippedNames(configs.FS) {
		texts[name] = fmt.Sprintf("version = 1\nextends = %q\n", name)
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) { roundTrip(t, text) })
	}
}

// roundTrip loads a policy, writes it and loads what was written.
func roundTrip(t *testing.T, text string) {
	t.Helper()
	p, _, err := load(text)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(string(encoded), func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 }); i >= 0 {
		t.Errorf("a control character at byte %d of %q", i, encoded)
	}
	again, _, err := load(string(encoded))
	if err != nil {
		t.Fatalf("%v\n%s", err, encoded)
	}
	if diff := cmp.Diff(p, again, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("policy (-first +again):\n%s\n%s", diff, encoded)
	}
}

func TestEncodeRefusesBytes(t *testing.T) {
	p, _, err := load("version = 1", policy.AddVolume("/a\xff:/b", "-v"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Encode(); message(err) != `policy "/p/x.toml": "/a\xff" is not UTF-8` {
		t.Errorf("got %v", err)
	}
}

// TestExplain compares the explanation of a policy with layers and flags, and
// that of the policy with every key, with what was reviewed.
func TestExplain(t *testing.T) {
	files := fstest.MapFS{
		"p/full.toml":                     {Data: []byte(full)},
		"home/alice/.config/brig/ci.toml": {Data: []byte("version = 1\n\n[limits]\nmemory = \"16GiB\"\n")},
	}
	for _, tt := range []struct {
		golden, name string
		overrides    []policy.Override
	}{
		{"ci.explain", "ci", []policy.Override{
			scalar("limits.pids", "100"), policy.SetVariable("TOKEN=s", "-e"), policy.AddVolume("/data:/data:ro", "-v"),
		}},
		{"full.explain", "/p/full.toml", nil},
	} {
		p, origins, err := policy.Load(policy.LoadOptions{
			Name: tt.name, Shipped: configs.FS, Files: files, UserDir: "/home/alice/.config/brig",
			Dir: testDir, HomeDir: testHome, Overrides: tt.overrides,
		})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, s := range p.Explain(origins) {
			fmt.Fprintf(&b, "%q = %s  (%s)\n", s.Key, s.Value, s.Origin)
		}
		path := filepath.Join("testdata", tt.golden)
		if *update {
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.golden, diff)
		}
	}
}

// TestSchema holds the schema against what the decoder accepts: the policy with
// every key, and the shipped ones, and single values of which the decoder says
// the same.
func TestSchema(t *testing.T) {
	text, err := policy.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	valid := []string{full}
	for _, name := range policy.ShippedNames(configs.FS) {
		valid = append(valid, fmt.Sprintf("version = 1\nextends = %q\n", name))
	}
	used := map[string]bool{}
	for _, text := range valid {
		p, _, err := load(text)
		if err != nil {
			t.Fatal(err)
		}
		// JSON and back, so that the values have the types of JSON.
		encoded, err := json.Marshal(p.Tree())
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(encoded, &tree); err != nil {
			t.Fatal(err)
		}
		for _, problem := range violations(schema, tree, "", used) {
			t.Errorf("%s: %s", p.Name, problem)
		}
	}
	used["extends"] = true // of the file, not of the policy
	for _, path := range schemaPaths(schema, "") {
		if !used[path] && !strings.HasPrefix(path, "limits.ulimit.") {
			t.Errorf("%s is in the schema and in no policy of this test", path)
		}
	}
	for tree, want := range map[string]string{
		`{}`:                          `: version is missing`,
		`{"version": 1, "colour": 1}`: `colour: not known`,
		`{"version": 2}`:              `version: 2 is not from 1 to 1`,
		`{"version": 1, "limits": {"memory": "256MIB"}}`:        `limits.memory: fits none of the choices`,
		`{"version": 1, "user": {"map": "none"}}`:               `user.map: none is not in [isolated keep-id single auto]`,
		`{"version": 1, "filesystem": {"mount": [{}]}}`:         `filesystem.mount: target is missing`,
		`{"version": 1, "limits": {"ulimit": {"nofile": 1}}}`:   `limits.ulimit.nofile: not known`,
		`{"version": 1, "environment": {"set": {"A": 1}}}`:      `environment.set: 1 is no string`,
		`{"version": 1, "limits": {"open_files": "unlimited"}}`: `limits.open_files: unlimited is no integer`,
	} {
		var v any
		if err := json.Unmarshal([]byte(tree), &v); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(violations(schema, v, "", map[string]bool{}), "; "); got != want {
			t.Errorf("%s: got %q, want %q", tree, got, want)
		}
	}
}

// violations is as much of a JSON Schema validator as the schema uses.
func violations(schema map[string]any, v any, at string, used map[string]bool) []string {
	if at != "" {
		used[at] = true
	}
	say := func(format string, args ...any) []string { return []string{at + ": " + fmt.Sprintf(format, args...)} }
	if choices, ok := schema["anyOf"].([]any); ok {
		for _, choice := range choices {
			if len(violations(choice.(map[string]any), v, at, used)) == 0 {
				return nil
			}
		}
		return say("fits none of the choices")
	}
	if want, ok := schema["const"]; ok && v != want {
		return say("%v is not %v", v, want)
	}
	if want, ok := schema["enum"].([]any); ok && !slices.Contains(want, v) {
		return say("%v is not in %v", v, want)
	}
	switch schema["type"] {
	case "integer", "number":
		n, ok := v.(float64)
		if !ok || schema["type"] == "integer" && n != float64(int64(n)) {
			return say("%v is no %s", v, schema["type"])
		}
		low, high := schema["minimum"].(float64), schema["maximum"]
		if n < low || high != nil && n > high.(float64) {
			return say("%v is not from %v to %v", n, low, high)
		}
	case "string":
		s, ok := v.(string)
		if pattern, has := schema["pattern"].(string); !ok || has && !regexp.MustCompile(pattern).MatchString(s) {
			return say("%v is no string", v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return say("%v is no boolean", v)
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			return say("%v is no array", v)
		}
		var found []string
		for _, item := range list {
			found = append(found, violations(schema["items"].(map[string]any), item, at, used)...)
		}
		return found
	case "object":
		return objectViolations(schema, v, at, used)
	}
	return nil
}

func objectViolations(schema map[string]any, v any, at string, used map[string]bool) []string {
	m, ok := v.(map[string]any)
	if !ok {
		return []string{at + ": no object"}
	}
	var found []string
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := m[name.(string)]; !ok {
			found = append(found, fmt.Sprintf("%s: %s is missing", at, name))
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, value := range m {
		path := strings.TrimPrefix(at+"."+name, ".")
		if property, ok := properties[name].(map[string]any); ok {
			found = append(found, violations(property, value, path, used)...)
		} else if other, ok := schema["additionalProperties"].(map[string]any); ok {
			found = append(found, violations(other, value, at, used)...)
		} else {
			found = append(found, path+": not known")
		}
	}
	return found
}

// schemaPaths lists the properties that a schema knows.
func schemaPaths(schema map[string]any, at string) []string {
	var paths []string
	if items, ok := schema["items"].(map[string]any); ok {
		paths = append(paths, schemaPaths(items, at)...)
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		path := strings.TrimPrefix(at+"."+name, ".")
		paths = append(paths, path)
		paths = append(paths, schemaPaths(property.(map[string]any), path)...)
	}
	return paths
}
