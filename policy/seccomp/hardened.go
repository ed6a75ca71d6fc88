package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

const errNoSys = retErrno | Action(unix.ENOSYS)

// hardenedCalls are denied although Docker's profile allows them, to everyone
// or to the holder of a capability. brig's jobs may hold every capability of
// their own user namespace, so a capability proves nothing.
var hardenedCalls = [...]string{
	// CVE-2022-0185 and its kin are reached through these.
	"fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
	"open_tree_attr", "pivot_root", "setns", "umount", "umount2", "unshare",
	"add_key", "keyctl", "request_key",
	"bpf", "lookup_dcookie", "perf_event_open", "userfaultfd",
	"io_uring_enter", "io_uring_register", "io_uring_setup",
	"delete_module", "finit_module", "init_module", "kexec_file_load", "kexec_load", "reboot",
	"fanotify_init", "fanotify_mark", "quotactl", "quotactl_fd",
	"name_to_handle_at", "open_by_handle_at",
	"acct", "ioperm", "iopl", "swapoff", "swapon",
}

// isHardened tells whether an entry of Docker's profile is not taken over.
func isHardened(e *entry) bool {
	switch e.Name {
	case "clone", "clone3":
		// New namespaces stay denied to a holder of CAP_SYS_ADMIN too.
		return e.With == "CAP_SYS_ADMIN"
	case "process_vm_readv", "process_vm_writev":
		// Docker allows them to all from kernel 4.8. A debugger does without.
		return e.With == ""
	}
	return slices.Contains(hardenedCalls[:], e.Name)
}

// absentCalls fail with ENOSYS where they are denied, whatever on_deny says:
// C libraries, language runtimes and libuv try them first and do without when
// the kernel does not have them. clone3 hides its flags behind a pointer.
var absentCalls = [...]string{
	"clone3", "get_mempolicy", "io_uring_enter", "io_uring_register", "io_uring_setup",
	"mbind", "set_mempolicy", "set_mempolicy_home_node",
}

// unseenMemory makes memory that is in no process's statm: denied while brig
// sums memory up itself, as on a kernel built without them. Messages and
// semaphores are the kernel's own memory, gigabytes of it where they are
// allowed.
var unseenMemory = [...]string{"memfd_create", "memfd_secret", "msgget", "semget", "shmget"}

// low32 compares the low 32 bits of an argument: the kernel ignores the rest of
// an int parameter, so a comparison of all 64 bits could be got round.
func low32(index uint, value uint64) Arg {
	return Arg{Index: index, Op: opMaskedEQ, Value: value, Mask: 0xffff_ffff}
}

// namespaceFlags are CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and
// NEWNET. CLONE_NEWTIME shares its bit with the exit signal and is not taken by
// clone(2).
const namespaceFlags = 0x7e02_0000

// unixSockets lets a call make AF_UNIX sockets only.
func unixSockets() []Match { return []Match{{low32(0, unix.AF_UNIX)}} }

// internetSockets: of netlink only routing (protocol 0), which getaddrinfo and
// Go's net need; the others are netfilter, audit, crypto and the like.
func internetSockets() []Match {
	return []Match{
		{low32(0, unix.AF_UNIX)},
		{low32(0, unix.AF_INET)},
		{low32(0, unix.AF_INET6)},
		{low32(0, unix.AF_NETLINK), low32(2, unix.NETLINK_ROUTE)},
	}
}

// noInternet fails internet sockets as a kernel without them does, whatever
// on_deny says: Java and others try one at every start and do without.
func noInternet() []Denial {
	const action = retErrno | Action(unix.EAFNOSUPPORT)
	var denials []Denial
	for _, m := range internetSockets()[1:] {
		denials = append(denials, Denial{Match: m, Action: action, Why: "base"})
	}
	return denials
}

// plainClone makes processes and threads, no namespaces.
func plainClone() []Match {
	return []Match{{Arg{Index: 0, Op: opMaskedEQ, Value: 0, Mask: namespaceFlags}}}
}

// askPersonality reads the personality without changing it.
func askPersonality() []Match { return []Match{{low32(0, 0xffff_ffff)}} }

// hardenedDenial denies a call for some arguments, with on_deny's action where
// action is 0.
type hardenedDenial struct {
	name   string
	match  Match
	action Action
}

// ePerm is what the kernel itself answers about processes of other users. brig's
// init is process 1 and in a single mapping has the job's own user id.
const ePerm = retErrno | Action(unix.EPERM)

// pid1 matches a call about process 1, named by the argument at index.
func pid1(index uint) Match { return Match{low32(index, 1)} }

func hardenedDenials() []hardenedDenial {
	return []hardenedDenial{
		// Typing into the terminal that one shares with somebody (CVE-2017-5226,
		// CVE-2023-1523), loading line disciplines.
		{"ioctl", Match{low32(1, unix.TIOCSTI)}, 0},
		{"ioctl", Match{low32(1, tiocLinux)}, 0},
		{"ioctl", Match{low32(1, tiocSetD)}, 0},
		// socket(AF_INET, SOCK_PACKET, …) makes an AF_PACKET socket (net/socket.c).
		{"socket", Match{low32(0, unix.AF_INET), {Index: 1, Op: opMaskedEQ, Value: unix.SOCK_PACKET, Mask: 0xf}}, 0},
		// Protocols whose modules an unprivileged socket call would load.
		{"socket", Match{low32(2, unix.IPPROTO_SCTP)}, 0},
		{"socket", Match{low32(2, unix.IPPROTO_DCCP)}, 0},
		{"socket", Match{low32(2, unix.IPPROTO_L2TP)}, 0},
		// Process 1: its limits, its scheduling, its memory.
		{"prlimit64", pid1(0), ePerm},
		{"sched_setaffinity", pid1(0), ePerm},
		{"sched_setparam", pid1(0), ePerm},
		{"sched_setscheduler", pid1(0), ePerm},
		{"sched_setattr", pid1(0), ePerm},
		{"migrate_pages", pid1(0), ePerm},
		{"move_pages", pid1(0), ePerm},
		{"ptrace", pid1(1), ePerm},
		{"process_vm_readv", pid1(0), ePerm},
		{"process_vm_writev", pid1(0), ePerm},
		{"kcmp", pid1(0), ePerm},
		{"kcmp", pid1(1), ePerm},
		{"pidfd_open", pid1(0), ePerm},
		// The same by process, group and user: PRIO_PROCESS, PRIO_PGRP, PRIO_USER.
		{"setpriority", Match{low32(0, unix.PRIO_PROCESS), low32(1, 1)}, ePerm},
		{"setpriority", Match{low32(0, unix.PRIO_PGRP), low32(1, 1)}, ePerm},
		{"setpriority", Match{low32(0, unix.PRIO_USER)}, ePerm},
		{"ioprio_set", Match{low32(0, ioprioWhoProcess), low32(1, 1)}, ePerm},
		{"ioprio_set", Match{low32(0, ioprioWhoGroup), low32(1, 1)}, ePerm},
		{"ioprio_set", Match{low32(0, ioprioWhoUser)}, ePerm},
	}
}

// From include/uapi/asm-generic/ioctls.h and include/uapi/linux/ioprio.h.
const (
	tiocLinux        = 0x541c
	tiocSetD         = 0x5423
	ioprioWhoProcess = 1
	ioprioWhoGroup   = 2
	ioprioWhoUser    = 3
)
