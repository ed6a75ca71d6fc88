package seccomp

import "slices"

// Group is a named set of system calls. A policy names it wherever it may name
// a call. Allowing a group never drops a denial by argument (TIOCSTI, process
// 1): only naming the call itself does.
type Group struct {
	Name  string // with the "@"
	About string
	Calls []string
}

// Groups lists the groups by name.
func Groups() []Group { return slices.Clone(groups[:]) }

func lookupGroup(name string) *Group {
	for i := range groups {
		if groups[i].Name == name {
			return &groups[i]
		}
	}
	return nil
}

var groups = [...]Group{
	{"@aio", "Linux asynchronous I/O (not POSIX aio, which uses threads)", []string{
		"io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit",
	}},
	{"@chown", "changing the owner of files", []string{
		"chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32",
	}},
	{"@clock", "setting and tuning the clock", []string{
		"adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "settimeofday", "stime",
	}},
	{"@debug", "looking into and changing other processes of the sandbox (gdb, strace)", []string{
		"kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
	}},
	{"@fanotify", "watching whole file systems", []string{"fanotify_init", "fanotify_mark"}},
	{"@handle", "files by handle, past their path", []string{"name_to_handle_at", "open_by_handle_at"}},
	{"@io-uring", "system calls by ring buffer, which no filter sees", []string{
		"io_uring_enter", "io_uring_register", "io_uring_setup",
	}},
	{"@keyring", "the kernel's key rings, which namespaces do not separate", []string{"add_key", "keyctl", "request_key"}},
	{"@landlock", "a job restricting itself", []string{
		"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
	}},
	{"@memfd", "memory as a file, which a summing supervisor does not see", []string{"memfd_create", "memfd_secret"}},
	{"@message-queue", "POSIX message queues", []string{
		"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64",
		"mq_timedsend", "mq_timedsend_time64", "mq_unlink",
	}},
	{"@module", "kernel modules", []string{
		"create_module", "delete_module", "finit_module", "get_kernel_syms", "init_module", "query_module",
	}},
	{"@mount", "file system trees: mounting, moving, changing the root", []string{
		"chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
		"open_tree", "open_tree_attr", "pivot_root", "umount", "umount2",
	}},
	{"@namespaces", "new and other namespaces (the flags of clone are judged by the base)", []string{"setns", "unshare"}},
	{"@numa", "placement of memory on nodes", []string{
		"get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node",
	}},
	{"@obsolete", "calls that nothing made this century needs", []string{
		"_sysctl", "afs_syscall", "bdflush", "break", "epoll_ctl_old", "epoll_wait_old", "ftime", "getpmsg", "gtty",
		"lock", "mpx", "nfsservctl", "prof", "profil", "putpmsg", "remap_file_pages", "security", "sgetmask",
		"ssetmask", "stty", "sysfs", "tuxcall", "ulimit", "uselib", "ustat", "vserver",
	}},
	{"@quota", "disk quotas", []string{"quotactl", "quotactl_fd"}},
	{"@raw-io", "ports and buses of the machine", []string{
		"ioperm", "iopl", "pciconfig_iobase", "pciconfig_read", "pciconfig_write",
		"s390_pci_mmio_read", "s390_pci_mmio_write",
	}},
	{"@reboot", "restarting the machine or booting another kernel", []string{"kexec_file_load", "kexec_load", "reboot"}},
	{"@scheduler", "changing how processes are scheduled", []string{
		"ioprio_set", "nice", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "setpriority",
	}},
	{"@setid", "changing users, groups and capabilities", []string{
		"capset", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32",
		"setregid", "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32",
		"setuid", "setuid32",
	}},
	{"@sockets", "making and using sockets", []string{
		"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recv",
		"recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt",
		"shutdown", "socket", "socketcall", "socketpair",
	}},
	{"@swap", "swap devices", []string{"swapoff", "swapon"}},
	{"@sync", "writing back everything the machine has cached", []string{"sync", "syncfs"}},
	{"@sysv-ipc", "System V semaphores, messages and shared memory", []string{
		"ipc", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64",
		"shmat", "shmctl", "shmdt", "shmget",
	}},
	{"@trace", "programs and probes inside the kernel", []string{"bpf", "lookup_dcookie", "perf_event_open"}},
	{"@xattr", "extended attributes of files", []string{
		"fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr", "listxattr",
		"listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr",
		"setxattrat",
	}},
}
