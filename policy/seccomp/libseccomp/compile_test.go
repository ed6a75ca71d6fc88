package libseccomp

import (
	"testing"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

func TestThin(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		for _, base := range []string{"default", "strict"} {
			for _, deny := range []string{"EPERM", "kill", "EACCES"} {
				p, err := seccomp.Resolve(seccomp.Settings{Base: base, OnDeny: deny}, seccomp.Options{SupervisedMemory: true}, arch)
				if err != nil {
					t.Fatal(err)
				}
				c, err := Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				b, err := c.MarshalBinary()
				t.Log(arch, base, deny, len(b), err)
				if base == "default" && deny == "EPERM" && arch == "amd64" {
					t.Log(p.Text())
				}
			}
		}
	}
}
