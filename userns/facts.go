package userns

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Step is where the attempt to use a user namespace failed.
type Step string

// The steps of an attempt.
const (
	// StepClone is clone(2) or unshare(2) with CLONE_NEWUSER.
	StepClone Step = "clone"
	// StepMap is writing uid_map, gid_map or setgroups.
	StepMap Step = "map"
	// StepUse is the first privileged act inside, such as mount(2).
	StepUse Step = "use"
)

// Absent is the value of a sysctl that the kernel does not have.
const Absent = -1

// Facts are what Diagnose decides by. They are plain data, so a test or a bug
// report can hold those of another machine.
type Facts struct {
	// Step and Errno are the attempt's outcome, filled in by whoever made it;
	// Errno 0 means that it worked.
	Step  Step
	Errno syscall.Errno

	// The sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone
	// (Debian's) and kernel.apparmor_restrict_unprivileged_userns (Ubuntu's).
	MaxUserNamespaces, UnprivilegedClone, AppArmorRestrict int64

	// HasUserNS: the kernel was built with user namespaces.
	HasUserNS bool
	// SELinuxEnforcing: SELinux is on and enforcing.
	SELinuxEnforcing bool
	// Label is the caller's security context: AppArmor's profile, such as
	// "unconfined" or "docker-default (enforce)", or SELinux's context.
	Label string
	// Seccomp is the caller's mode: 0 off, 1 strict, 2 filtered.
	Seccomp int
	// NoNewPrivs is the caller's no_new_privs.
	NoNewPrivs bool
	// SysAdmin: the caller has CAP_SYS_ADMIN in its own user namespace.
	SysAdmin bool
	// UID and GID are the caller's effective ids; UIDMap and GIDMap those of
	// its own user namespace.
	UID, GID       uint32
	UIDMap, GIDMap Map
	// Chrooted: the caller's root is no mount point, hence was set by
	// chroot(2). A chroot onto a mount point cannot be told from here.
	Chrooted bool
	// Executable is the caller's program, for the AppArmor profile.
	Executable string
}

// ReadFacts gathers the facts from /proc and /sys; fsys stands for the root
// directory in tests, nil is the host. Step and Errno are left to the caller.
func ReadFacts(fsys fs.FS) (Facts, error) {
	src := etc{fsys}
	var f Facts
	var err error
	if fsys == nil {
		if f.Executable, err = os.Executable(); err != nil {
			return f, err
		}
	}
	for _, s := range [...]struct {
		file string
		dst  *int64
	}{
		{"proc/sys/user/max_user_namespaces", &f.MaxUserNamespaces},
		{"proc/sys/kernel/unprivileged_userns_clone", &f.UnprivilegedClone},
		{"proc/sys/kernel/apparmor_restrict_unprivileged_userns", &f.AppArmorRestrict},
	} {
		if *s.dst, err = src.number(s.file); err != nil {
			return f, err
		}
	}
	enforcing, err := src.number("sys/fs/selinux/enforce")
	if err != nil {
		return f, err
	}
	f.SELinuxEnforcing = enforcing == 1
	f.Label = src.label()
	if err := src.status(&f); err != nil {
		return f, err
	}
	uidMap, err := src.read("proc/self/uid_map", maxProcFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	// The file exists exactly where user namespaces do.
	f.HasUserNS = err == nil
	if f.UIDMap, err = ParseMap(string(uidMap)); err != nil {
		return f, err
	}
	gidMap, err := src.read("proc/self/gid_map", maxProcFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if f.GIDMap, err = ParseMap(string(gidMap)); err != nil {
		return f, err
	}
	f.Chrooted, err = src.chrooted()
	return f, err
}

// number reads a file that holds one number; Absent if there is none.
func (s etc) number(name string) (int64, error) {
	data, err := s.read(name, maxProcFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, &Problem{
			Reason: FileUnreadable, Cause: "reading /" + name, Err: err,
			Fix: "mount the kernel's own /proc and /sys",
		}
	}
	return n, nil
}

// label reads the caller's security context. Without a module that has one the
// kernel answers EINVAL, which is as good as no label.
func (s etc) label() string {
	for _, name := range [...]string{"proc/self/attr/apparmor/current", "proc/self/attr/current"} {
		if data, err := s.read(name, maxProcFile); err == nil {
			return strings.TrimRight(string(data), "\x00\n")
		}
	}
	return ""
}

// status reads the fields of /proc/self/status, proc_pid_status(5).
func (s etc) status(f *Facts) error {
	data, err := s.read("proc/self/status", maxProcFile)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch key {
		case "Uid", "Gid": // real, effective, saved, file system
			if len(fields) < 2 {
				continue
			}
			id, err := strconv.ParseUint(fields[1], 10, 32)
			if err != nil {
				return &Problem{Reason: FileUnreadable, Cause: "reading " + key + " in /proc/self/status", Err: err, Fix: "mount the kernel's own /proc"}
			}
			if key == "Uid" {
				f.UID = uint32(id)
			} else {
				f.GID = uint32(id)
			}
		case "Seccomp":
			f.Seccomp, _ = strconv.Atoi(fields[0])
		case "NoNewPrivs":
			f.NoNewPrivs = fields[0] == "1"
		case "CapEff":
			caps, err := strconv.ParseUint(fields[0], 16, 64)
			f.SysAdmin = err == nil && caps&(1<<unix.CAP_SYS_ADMIN) != 0
		}
	}
	return nil
}

// chrooted looks for the root directory among the mount points. A mount
// namespace's own root is one; a directory that chroot made the root is not,
// and the mounts above it are not shown.
func (s etc) chrooted() (bool, error) {
	data, err := s.read("proc/self/mountinfo", maxProcFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(data)) {
		// id parent major:minor root mountpoint ...
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			return false, nil
		}
	}
	return true, nil
}
