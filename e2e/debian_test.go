package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

const (
	// debianVariable names an archive of a Debian root file system; without it
	// mmdebstrap makes one, which takes minutes and a mirror.
	debianVariable = "BRIG_TEST_DEBIAN"
	debianTime     = 10 * time.Minute
)

// packageScript is what administrators do in a root file system: a package with
// a user of its own is built, installed and removed, files change owners, and
// somebody becomes another user.
const packageScript = `set -e
mkdir -p /tmp/p/DEBIAN /tmp/p/opt/thing
cat >/tmp/p/DEBIAN/control <<EOF
Package: thing
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: a thing
EOF
cat >/tmp/p/DEBIAN/postinst <<EOF
#!/bin/sh
set -e
useradd --system --no-create-home thing
chown thing:thing /opt/thing/file
EOF
chmod 755 /tmp/p/DEBIAN/postinst
echo hello >/tmp/p/opt/thing/file
dpkg-deb --root-owner-group --build /tmp/p /tmp/thing.deb >/dev/null
dpkg -i /tmp/thing.deb >/dev/null
stat -c '%U:%G' /opt/thing/file
su thing -s /bin/sh -c 'id -un; echo more >>/opt/thing/file; cat /opt/thing/file; cat /etc/shadow 2>&1 || :'
chown 12345:54321 /etc/debian_version
stat -c '%u:%g' /etc/debian_version
dpkg -r thing >/dev/null
ls /opt/thing 2>&1 || :
rm -r /usr/share/doc && mkdir /usr/share/doc && ls -A /usr/share/doc
`

const packageOutput = `thing:thing
thing
hello
more
cat: /etc/shadow: Permission denied
12345:54321
ls: cannot access '/opt/thing': No such file or directory
`

// TestDebian installs a package in a Debian image under the policy that images
// have by default, and again on a fresh root: nothing of the first run is left.
func TestDebian(t *testing.T) {
	sandboxtest.Need(t, "unprivileged", "subid", "overlay", "seccomp")
	sandboxtest.Leaks(t)
	archive := debianArchive(t)
	env := append(os.Environ(), "XDG_DATA_HOME="+dataHome(t))
	brig := func(stdin string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), debianTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, filepath.Join(brigDir, "brig"), args...)
		cmd.Env, cmd.Dir, cmd.Stdin = env, t.TempDir(), strings.NewReader(stdin)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("brig %s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
		}
		return string(out)
	}
	brig("", "import", archive, "debian:test")
	for range 2 {
		if out := brig(packageScript, "run", "--image", "debian:test", "--", "sh"); out != packageOutput {
			t.Errorf("printed\n%s\nwant\n%s", out, packageOutput)
		}
	}
	// Owners are as the archive has them.
	if out := brig("", "run", "--image", "debian:test", "--", "stat", "-c", "%U:%G %a", "/etc/shadow", "/var/mail"); out != "root:shadow 640\nroot:mail 2775\n" {
		t.Errorf("owners: %s", out)
	}
	brig("", "rmi", "debian:test")
}

// dataHome is a directory for the image store that is removed in a user
// namespace: files in it belong to subordinate ids until the image is removed.
func dataHome(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "brig-test-data-") //nolint:usetesting // t.TempDir cannot be removed when the test failed
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd := exec.Command(filepath.Join(brigDir, "brig"), "rmi", "--force", "debian:test")
		cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir)
		_ = cmd.Run() // it is gone where the test has succeeded
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// debianArchive is a small Debian with dpkg and its essential packages.
func debianArchive(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(debianVariable); path != "" {
		return path
	}
	if testing.Short() {
		sandboxtest.Lacks(t, "time", errors.New("a Debian root file system takes minutes to make"))
	}
	path, err := exec.LookPath("mmdebstrap")
	if err != nil {
		sandboxtest.Lacks(t, "mmdebstrap", fmt.Errorf("%w (Debian: mmdebstrap)", err))
	}
	archive := filepath.Join(t.TempDir(), "debian.tar")
	ctx, cancel := context.WithTimeout(t.Context(), debianTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--quiet", "--variant=minbase", "bookworm", archive)
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if out, err := cmd.CombinedOutput(); err != nil {
		sandboxtest.Lacks(t, "mmdebstrap", fmt.Errorf("no Debian can be made here: %w: %s", err, out))
	}
	return archive
}
