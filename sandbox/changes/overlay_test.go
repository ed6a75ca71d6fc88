package changes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// overlay is a real overlay on directories of a test.
type overlay struct {
	t      testing.TB
	dir    string
	lowers []string // bottom first
}

// newOverlay makes lower layers by shell scripts, bottom first.
func newOverlay(t testing.TB, scripts ...string) *overlay {
	t.Helper()
	sandboxtest.Need(t, "userns", "overlay", "unshare")
	o := &overlay{t: t, dir: t.TempDir()}
	for _, name := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(o.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, script := range scripts {
		dir := filepath.Join(o.dir, "lower"+string(rune('0'+i)))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		shell(t, dir, script)
		o.lowers = append(o.lowers, dir)
	}
	// A job can close its directories to the owner.
	t.Cleanup(func() {
		_ = exec.Command("chmod", "-R", "u+rwX", o.dir).Run()
		if fd, err := openTop(o.dir); err == nil {
			_ = removeBelow(fd, ".")
			unix.Close(fd)
		}
	})
	return o
}

func shell(t testing.TB, dir, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", "umask 022\n"+script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func (o *overlay) upper() string { return filepath.Join(o.dir, "upper") }

// run runs a script in the merged directory, and takes the overlay away.
func (o *overlay) run(script string) string {
	o.t.Helper()
	var top []string
	for i := len(o.lowers) - 1; i >= 0; i-- {
		top = append(top, filepath.Base(o.lowers[i]))
	}
	mount := "mount -t overlay overlay -o userxattr,lowerdir=" + strings.Join(top, ":") + ",upperdir=upper,workdir=work merged"
	cmd := exec.Command("unshare", "-Urm", "sh", "-euc", "umask 022\n"+mount+"\ncd merged\n"+script)
	cmd.Dir = o.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func (o *overlay) tree() *Tree {
	o.t.Helper()
	tree, err := Open(o.upper(), o.lowers...)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(tree.Close)
	return tree
}

// scan lists the changes, those in added and deleted directories indented.
func (o *overlay) scan() string {
	o.t.Helper()
	var b strings.Builder
	last := ""
	err := o.tree().Scan(func(c *Change, _ *Source) error {
		if err := c.check(); err != nil {
			o.t.Errorf("%v: %v", c, err)
		}
		if last != "" && !Less(last, c.Path) {
			o.t.Errorf("%q comes after %q", c.Path, last)
		}
		last = c.Path
		if c.Within {
			b.WriteString(" ")
		}
		b.WriteString(string(c.Kind) + " " + c.Path)
		if w := c.What(); w != "" {
			b.WriteString(" (" + w + ")")
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return b.String()
}
