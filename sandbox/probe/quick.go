package probe

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/userns"
)

// Quick reads what is cheap to read, and presumes the facts that would have to
// be tried: from the kernel's version, or from what Try has found earlier on
// this host. It is on the path of every job.
//
// Errors are those of a host on which nothing can be run at all, such as one
// whose kernel does not tell its version. What is merely missing is a Fact, a
// Problem of a File, or SubIDsProblem and ToolsProblem.
func Quick(q Question) (*Host, error) {
	h, uts, err := basics()
	if err != nil {
		return nil, err
	}
	if h.HomeDir = os.Getenv("HOME"); q.SubIDs || !strings.HasPrefix(h.HomeDir, "/") {
		h.account()
	}
	if q.Online {
		h.Online = online(len(h.CPUs))
	}
	h.look(q.Paths)
	for _, dir := range q.Owners {
		if h.Owners == nil {
			h.Owners = map[string][]Owner{}
		}
		h.Owners[dir] = owners(dir)
	}
	if q.SubIDs {
		h.findIDs(context.Background())
	}
	if q.Mounts {
		if h.Mounts, err = ReadMounts(); err != nil {
			return nil, err
		}
	}
	h.lookDevices(q.Devices)
	if q.Nodes {
		h.Nodes = memoryNodes()
	}
	if !q.NoCgroups {
		h.Cgroups = quickCgroups(h.UID)
		if q.WhyNoCgroup && (h.Cgroups == nil || h.Cgroups.Parent == "" && h.Cgroups.Manager == "") {
			h.Cgroups = ReadCgroups(h.UID)
			h.account()
		}
	}
	h.presume()
	h.recall(uts)
	h.placeUpper()
	return h, nil
}

// basics are the facts that every Host holds.
func basics() (*Host, *unix.Utsname, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, nil, fmt.Errorf("asking the kernel for its version: %w", err)
	}
	h := &Host{
		Kernel: ParseRelease(unix.ByteSliceToString(uts.Release[:])),
		Arch:   runtime.GOARCH,
		UID:    uint32(os.Getuid()),
		GID:    uint32(os.Getgid()),
		// Process ids follow each other, and so do jobs that start together.
		Rotation: os.Getpid(),
	}
	var err error
	if h.CPUs, err = affinity(); err != nil {
		return nil, nil, err
	}
	h.Online = len(h.CPUs)
	if h.Groups, err = unix.Getgroups(); err != nil {
		return nil, nil, fmt.Errorf("asking the kernel for the caller's groups: %w", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, nil, fmt.Errorf("asking the kernel for the size of memory: %w", err)
	}
	h.MemoryTotal = int64(info.Totalram * uint64(info.Unit))
	h.LandlockABI = landlockABI()
	return h, &uts, nil
}

// ParseRelease reads a kernel's release, as uname(2) gives it: numbers at its
// start, and whatever a distribution adds. A release without numbers is version
// 0.0, which has nothing that newer kernels have.
func ParseRelease(release string) Kernel {
	major, rest := leadingNumber(release)
	minor := 0
	if len(rest) > 0 && rest[0] == '.' {
		minor, _ = leadingNumber(rest[1:])
	}
	return Kernel{Major: major, Minor: minor, Release: release}
}

// leadingNumber reads the digits at the start of s, at most six.
func leadingNumber(s string) (n int, rest string) {
	i := 0
	for i < len(s) && i < 6 && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + int(s[i]-'0')
		i++
	}
	return n, s[i:]
}

// landlockABI asks the kernel; 0 where it has no Landlock, or it is off.
// See landlock_create_ruleset(2): without attributes and with
// LANDLOCK_CREATE_RULESET_VERSION it makes nothing and returns the version.
func landlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// findIDs fills in the subordinate ids and the tools that map them. Root has
// no use for either: whoever launches takes an unused range for it, which is
// then the Host's SubIDs.
func (h *Host) findIDs(ctx context.Context) {
	if h.UID == 0 {
		return
	}
	var err error
	if h.SubIDs, err = userns.LookupSubIDs(ctx, userns.LookupOptions{UID: h.UID, GID: h.GID, Name: h.User}); err != nil {
		h.SubIDsProblem = err.Error()
	}
	if h.Tools, err = userns.FindTools(); err != nil {
		h.ToolsProblem = err.Error()
	}
}

// ReadMounts reads the caller's mountinfo.
func ReadMounts() ([]Mount, error) {
	list, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("reading the mount points: %w", err)
	}
	mounts := make([]Mount, len(list))
	for i, m := range list {
		mounts[i] = Mount{Point: m.Mountpoint, FSType: m.FSType, ReadOnly: hasOption(m.Options, "ro")}
	}
	return mounts, nil
}
