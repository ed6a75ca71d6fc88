package compiled_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/configs/compiled"
	"github.com/brig-sandbox/brig/policy"
)

var update = flag.Bool("update", false, "write compiled.go from the shipped policies")

// callersDir stands for the caller's directory while a policy is compiled.
const callersDir = "/the/callers/directory"

func load(t *testing.T, name string, opts policy.LoadOptions) *policy.Policy {
	t.Helper()
	opts.Name, opts.Shipped, opts.Files = name, configs.FS, os.DirFS("/")
	p, _, err := policy.Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCompiled keeps compiled.go equal to the policies' files.
func TestCompiled(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("// Code generated from the shipped policies by go test ./configs/compiled -update. DO NOT EDIT.\n\npackage compiled\n\n" +
		"import (\n\"github.com/brig-sandbox/brig/policy\"\n\"github.com/brig-sandbox/brig/policy/seccomp\"\n)\n\n" +
		"// Policy is a shipped policy as it is after loading, for policy.LoadOptions;\n// nil for a name that is none of theirs.\n" +
		"func Policy(name string) *policy.Policy {\nswitch name {\n")
	zero := regexp.MustCompile(`\b[A-Za-z]+:(0|""|false|0x0|\[\]string\(nil\)|\[\]string\{\}|map\[[^(]*\(nil\)|\[\][a-zA-Z.]+\(nil\)), ?`)
	for _, name := range policy.ShippedNames(configs.FS) {
		p := load(t, name, policy.LoadOptions{Dir: callersDir})
		text := strings.ReplaceAll(fmt.Sprintf("%#v", p), fmt.Sprintf("%q", callersDir), `"."`)
		text = strings.ReplaceAll(text, "}", ", }")
		text = strings.ReplaceAll(zero.ReplaceAllString(text, ""), ", }", "}")
		fmt.Fprintf(&b, "case %q:\nreturn %s\n", name, text)
	}
	b.WriteString("}\nreturn nil\n}\n")
	want := strings.NewReplacer("Limits:policy", "\nLimits:policy", "Enforcement:", "\nEnforcement:", "Filesystem:", "\nFilesystem:",
		"User:policy", "\nUser:policy", "Network:", "\nNetwork:", "Seccomp:", "\nSeccomp:", "Environment:", "\nEnvironment:").Replace(b.String())
	out, err := format.Source([]byte(want))
	if err != nil {
		t.Fatalf("%v\n%s", err, want)
	}
	if *update {
		if err := os.WriteFile("compiled.go", out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("compiled.go")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(out), string(got)); d != "" {
		t.Errorf("compiled.go is not of these policies; run go test ./configs/compiled -update\n%s", d)
	}
}

// TestShortWay loads each policy both ways, with and without overrides.
func TestShortWay(t *testing.T) {
	overrides := [][]policy.Override{
		nil,
		{{Key: "limits.memory", Value: "64m", Origin: "--memory"}, policy.AddVolume("/srv:/data:ro", "-v")},
		{policy.SetUser("5", "-u"), policy.SetVariable("A=b", "-e"), {Key: "seccomp.base", Value: "strict", Origin: "--security-opt"}},
	}
	for _, name := range policy.ShippedNames(configs.FS) {
		for i, list := range overrides {
			long := load(t, name, policy.LoadOptions{Dir: "/home/x/project", HomeDir: "/home/x", Overrides: list})
			short := load(t, name, policy.LoadOptions{Dir: "/home/x/project", HomeDir: "/home/x", Overrides: list, Compiled: compiled.Policy})
			if d := cmp.Diff(long, short, cmp.Transformer("empty", func(s []string) []string { return append([]string{}, s...) })); d != "" {
				t.Errorf("%s, overrides %d: %s", name, i, d)
			}
		}
	}
}

// TestShortWayFaults pins that what is wrong is still said with its place.
func TestShortWayFaults(t *testing.T) {
	_, _, err := policy.Load(policy.LoadOptions{
		Name: "default", Shipped: configs.FS, Files: os.DirFS("/"), Dir: "/home/x", HomeDir: "/home/x", Compiled: compiled.Policy,
	})
	if err == nil || !strings.Contains(err.Error(), "your whole home directory") {
		t.Errorf("got %v", err)
	}
}
