package rootfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/rootfs"
)

// FuzzFindUser: whatever an image's databases hold, nobody becomes root whom
// neither the number 0 nor the first line of that name makes root.
func FuzzFindUser(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:\n", "root:x:0:\nssl:x:110:www\n", "www")
	f.Add("a:x:1:1::/:\na:x:0:0::/:\n", "g:x:0:a\n", "a:g")
	f.Add("a:x:00:4294967295::/:\n+::0:0:::\n", "\x00:::\n:::", "00")
	layer := f.TempDir()
	etc := filepath.Join(layer, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil { //nolint:gosec // as images have it
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, passwd, group, spec string) {
		for name, content := range map[string]string{"passwd": passwd, "group": group} {
			if err := os.WriteFile(filepath.Join(etc, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		u, err := rootfs.FindUser([]string{layer}, spec)
		if err != nil {
			return
		}
		name, _, _ := strings.Cut(spec, ":")
		if u.UID == 0 && !zero(name) && !firstIsRoot(passwd, name) {
			t.Errorf("%q became root: %+v", spec, u)
		}
		if u.Name != "" && !strings.Contains(passwd, u.Name+":") {
			t.Errorf("%q became %q, who is not there", spec, u.Name)
		}
	})
}

func zero(s string) bool { return s != "" && strings.Trim(s, "0") == "" }

// firstIsRoot reads what matters another way than the code under test.
func firstIsRoot(passwd, name string) bool {
	for _, line := range strings.Split(passwd, "\n") {
		if rest, ok := strings.CutPrefix(line, name+":"); ok && strings.Count(line, ":") >= 5 && !strings.Contains(line, "\x00") {
			_, id, _ := strings.Cut(rest, ":")
			id, _, _ = strings.Cut(id, ":")
			return zero(id)
		}
	}
	return false
}
