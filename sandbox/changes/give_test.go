package changes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// Applied by root, what the job made is the directory owner's, in a set-gid
// directory of that one's group; and what it has left to others stays theirs.
func TestRootGivesAway(t *testing.T) {
	sandboxtest.Need(t, "root")
	p := newProject(t, "echo a >mine; echo x >other; mkdir s; chmod 2755 s", "echo b >>mine; rm other; ln -s mine other; echo n >new; chmod 6755 new; mkdir d; echo i >s/in; mkdir s/d")
	if err := os.Chown(p.host(), 1000, 100); err != nil {
		t.Fatal(err)
	}
	if out, err := p.apply(false, nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"mine": "0:0 100644", "other": "0:0 120777", "new": "1000:100 100755", "d": "1000:100 40755", "s/in": "1000:0 100644", "s/d": "1000:0 40755",
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(p.host(), name), &st); err != nil {
			t.Error(err)
			continue
		}
		if got := fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
