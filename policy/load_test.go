package policy_test

import (
	"testing"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
)

// TestShippedDefault loads what every run of brig loads.
func TestShippedDefault(t *testing.T) {
	p, origins, err := policy.Load(policy.LoadOptions{Shipped: configs.FS, Dir: "/home/alice/project", HomeDir: "/home/alice"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "default" || p.User.GID != p.User.UID || p.Limits.PIDs != 512 {
		t.Errorf("got %+v", p)
	}
	if got := origins.Of("limits.memory").String(); got != "shipped default.toml:16" {
		t.Errorf("limits.memory comes from %q", got)
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, _, err := policy.Load(policy.LoadOptions{Shipped: configs.FS, Dir: "/home/alice/project", HomeDir: "/home/alice"}); err != nil {
			b.Fatal(err)
		}
	}
}
