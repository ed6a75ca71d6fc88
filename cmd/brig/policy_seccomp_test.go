package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seccompOutput runs `brig policy seccomp` without a user's or project's files.
func seccompOutput(t *testing.T, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Chdir(t.TempDir()) // the home itself is never given to a job
	cmd := newPolicySeccompCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func TestPolicySeccompPrintsText(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		out, err := seccompOutput(t, "--arch", arch, "strict")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(out, "arch     "+arch+"\nbase     strict\n") {
			t.Errorf("begins with %.60q", out)
		}
		if !strings.Contains(out, " clone3                   ENOSYS  base\n") {
			t.Error("clone3 is not shown with ENOSYS")
		}
	}
}

func TestPolicySeccompPrintsJSON(t *testing.T) {
	out, err := seccompOutput(t, "--json", "--supervised-memory")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Base     string
		Syscalls []struct{ Name, Action, Why string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for _, c := range got.Syscalls {
		if c.Name == "memfd_create" && (c.Action != "ENOSYS" || c.Why != "supervised memory") {
			t.Errorf("memfd_create: %+v", c)
		}
	}
	if got.Base != "default" || len(got.Syscalls) < 300 {
		t.Errorf("base %q, %d calls", got.Base, len(got.Syscalls))
	}
}

func TestPolicySeccompRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none.toml")
	if err := os.WriteFile(file, []byte("version = 1\n[seccomp]\nbase = \"none\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"--arch", "mips", "strict"}, `architecture "mips": brig has filters for amd64 and arm64`},
		{[]string{"--disassemble", file}, "policy " + file + ` has seccomp base "none": there is no program`},
		{[]string{"--json", "--disassemble"}, "if any flags in the group [json disassemble] are set none of the others can be; [disassemble json] were all set"},
	}
	for _, test := range tests {
		if out, err := seccompOutput(t, test.args...); err == nil || err.Error() != test.want || out != "" {
			t.Errorf("%q: %q, %v; want %s", test.args, out, err, test.want)
		}
	}
}
