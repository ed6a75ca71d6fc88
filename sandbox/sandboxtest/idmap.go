package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// needIDMap makes an idmapped mount of the directory for temporary files, in no
// mount namespace: what only host root can do, on a file system that takes part in
// it. Overlays take such layers from Linux 5.19 on.
func needIDMap() error {
	cmd := exec.Command("/bin/cat")
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1 << 20, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: maps, GidMappings: maps, Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("a user namespace: %w", err)
	}
	defer func() { _ = cmd.Wait() }() // cat ends with its input
	defer stdin.Close()
	ns, err := os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/user")
	if err != nil {
		return err
	}
	defer ns.Close()
	fd, err := unix.OpenTree(unix.AT_FDCWD, os.TempDir(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC) //nolint:forbidigo // in no namespace
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil { //nolint:forbidigo // the detached mount's
		return fmt.Errorf("mount_setattr of %s: %w", os.TempDir(), err)
	}
	return nil
}
