package policy_test

import (
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/policy"
)

// What does not go with control groups of the job's own is refused at the value
// that does not fit.
func TestDelegation(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"on", "limits.delegate_cgroup = true", nil},
		{"not a bool", "limits.delegate_cgroup = 1", []string{`2: limits.delegate_cgroup: the number 1 is not accepted; write true or false`}},
		{"misspelt", "limits.delegate_cgroups = true", []string{`2: limits.delegate_cgroups: there is no such key in [limits]; did you mean "delegate_cgroup"?`}},
		{"capabilities", "limits.delegate_cgroup = true\nuser.capabilities = [\"CAP_CHOWN\", \"CAP_KILL\"]", []string{
			`2: limits.delegate_cgroup: a job that divides its control group has no capabilities, and user.capabilities keeps CAP_CHOWN, CAP_KILL: with one over files it could write what lies above its part`,
		}},
	} {
		p, _, err := load("version = 1\n" + tt.text)
		if got := faults(err); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if tt.name == "on" && err == nil && !p.Limits.DelegateCgroup {
			t.Error("it is not on")
		}
	}
	p, _, err := load("version = 1\nlimits.delegate_cgroup = true", policy.Override{Key: "limits.delegate_cgroup", Value: "false", Origin: "--x"})
	if err != nil || p.Limits.DelegateCgroup {
		t.Errorf("a flag does not take it back: %v", err)
	}
}
