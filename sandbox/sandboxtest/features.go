package sandboxtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// features is the table behind Has. Each entry tries the feature once and says
// why it is absent. Tools that a job must find are looked up where the sandbox
// would find them, not along the tester's own PATH.
var features = sync.OnceValue(func() map[string]func() error {
	table := map[string]func() error{
		"root":         needRoot,
		"unprivileged": needUnprivileged,
		"userns":       needUserns,
		"subid":        needSubid,
		"overlay":      needOverlay,
		"idmap":        needIDMap,
		"tmpfs-xattr":  needTmpfsXattr,
		"seccomp":      needSeccomp,
		"landlock":     needLandlock,
		"cgroupv2":     needCgroup2,
		"tty":          needTTY,
		"modules":      needModules,
		"dev-full":     needFull,
		"amd64":        needAMD64,
	}
	for _, tool := range []string{"bwrap", "nsjail", "firejail", "runc", "gcc", "g++", "go", "aarch64-linux-gnu-gcc", "strace", "git", "patch", "sudo", "unshare", "shellcheck", "skopeo", "umoci", "docker-registry", "buildah", "podman"} {
		table[tool] = func() error {
			_, err := exec.LookPath(tool)
			return err
		}
	}
	for _, tool := range []string{"python3", "perl", "bash"} {
		table[tool] = func() error { return systemTool(tool) }
	}
	for name, try := range table {
		table[name] = sync.OnceValue(try)
	}
	return table
})

func needRoot() error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("running as uid %d", uid)
	}
	return nil
}

func needUnprivileged() error {
	if os.Geteuid() == 0 {
		return errors.New("running as root")
	}
	return nil
}

// systemTool looks a tool up in the directories that the host root file system
// gives to a job, and starts it once: a wrapper that needs the tester's home
// directory would be found and then fail inside.
func systemTool(name string) error {
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin"} {
		path := filepath.Join(dir, name)
		if unix.Access(path, unix.X_OK) != nil {
			continue
		}
		if out, err := exec.Command(path, "-c", "").CombinedOutput(); err != nil && name != "perl" {
			return fmt.Errorf("%s does not start: %w: %s", path, err, bytes.TrimSpace(out))
		}
		return nil
	}
	return fmt.Errorf("no %s in /usr/local/bin, /usr/bin or /bin", name)
}

// inUserns runs a shell command as root of fresh user, mount and process
// namespaces in which the caller alone is mapped.
func inUserns(script string) error {
	cmd := exec.Command("/bin/sh", "-ec", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("in a user namespace: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func needUserns() error {
	return inUserns("mount -t tmpfs none /tmp")
}

func needOverlay() error {
	return inUserns(`mount -t tmpfs none /tmp; cd /tmp; mkdir l u w m
mount -t overlay -o userxattr,lowerdir=l,upperdir=u,workdir=w none m`)
}

// needTmpfsXattr tries what fails before Linux 6.6: removing a lower directory
// when the upper one is on tmpfs.
func needTmpfsXattr() error {
	return inUserns(`mount -t tmpfs none /tmp; cd /tmp; mkdir -p l/d u w m
mount -t overlay -o userxattr,lowerdir=l,upperdir=u,workdir=w none m
rmdir m/d; mkdir m/d`)
}

// needSubid maps the caller's first subordinate range with the real helpers.
// Root needs none: it may map any range.
func needSubid() error {
	if os.Geteuid() == 0 {
		return needUserns()
	}
	cmd := exec.Command("/bin/cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("a user namespace: %w", err)
	}
	defer func() { _ = cmd.Wait() }() // cat ends with its input
	defer stdin.Close()
	for _, side := range []struct{ file, tool string }{
		{"/etc/subuid", "newuidmap"}, {"/etc/subgid", "newgidmap"},
	} {
		start, err := firstRange(side.file)
		if err != nil {
			return err
		}
		out, err := exec.Command(side.tool, strconv.Itoa(cmd.Process.Pid), "0", start, "1000").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", side.tool, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// firstRange is the start of the caller's first range of 1000 ids or more in a
// subuid or subgid file.
func firstRange(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	me, err := user.Current()
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 || (fields[0] != me.Username && fields[0] != me.Uid) {
			continue
		}
		if size, err := strconv.Atoi(fields[2]); err == nil && size >= 1000 {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s gives %s no range of 1000 ids", file, me.Username)
}

func needSeccomp() error {
	// The argument is SECCOMP_RET_KILL_PROCESS, the newest action brig uses.
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	return getActionAvailable(&action)
}

// needModules wants the go command and this module's dependencies in its cache.
func needModules() error {
	cmd := exec.Command("go", "list", "-deps", "github.com/brig-sandbox/brig/cmd/brig")
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(string(bytes.TrimSpace(out)), "\n")
		return fmt.Errorf("go list: %w: %s", err, first)
	}
	return nil
}

// needFull wants the device that is always full.
func needFull() error {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func needAMD64() error {
	if runtime.GOARCH != "amd64" {
		return errors.New("this is " + runtime.GOARCH)
	}
	return nil
}

func needTTY() error {
	parent, child, err := pty.Open()
	if err != nil {
		return err
	}
	return errors.Join(parent.Close(), child.Close())
}
