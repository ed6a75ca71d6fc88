/*
 * Makes every system call that could lead out of a sandbox, harmlessly, and
 * prints those that the kernel or the filter did not refuse:
 *
 *   NAME: allowed            the call did what it says
 *   NAME: ERRNO              refused, but not in the way it has to be
 *
 * Exit code 0: all refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int bad;

static void refused(const char *what, long result)
{
	if (result < 0)
		return;
	printf("%s: allowed\n", what);
	bad = 1;
}

static void gives(const char *what, long result, int want)
{
	if (result < 0 && errno == want)
		return;
	printf("%s: %s\n", what, result < 0 ? strerror(errno) : "allowed");
	bad = 1;
}

/* What a call of the 32-bit system call table does to a process. */
static void foreign(const char *what, void (*call)(void))
{
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		call();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS) {
		printf("%s: not killed, status %#x\n", what, status);
		bad = 1;
	}
}

#ifdef __x86_64__
static void int80(void)
{
	long r = 20; /* getpid */
	__asm__ volatile("int $0x80" : "+a"(r) : : "memory");
}

static void x32(void)
{
	syscall(0x40000000 + 39); /* getpid */
}
#endif

int main(void)
{
	static char buffer[4096];
	struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	struct iovec iov = { buffer, 8 }, there = { (void *)0x1000000000UL, 8 };
	struct rlimit one = { 1, 1 };

	/* Namespaces */
	refused("unshare user", unshare(CLONE_NEWUSER));
	refused("unshare mount", unshare(CLONE_NEWNS));
	refused("unshare pid", unshare(CLONE_NEWPID));
	refused("unshare net", unshare(CLONE_NEWNET));
	refused("unshare time", unshare(CLONE_NEWTIME));
	refused("clone user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	refused("clone user, high bits", syscall(SYS_clone, 0x100000000UL | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	gives("clone3", syscall(SYS_clone3, &args, sizeof args), ENOSYS);
	refused("setns", setns(open("/proc/self/ns/net", O_RDONLY), 0));
	refused("setns of init", setns(open("/proc/1/ns/user", O_RDONLY), 0));

	/* Mounts and roots */
	refused("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
	refused("bind", mount("/usr", "/tmp", NULL, MS_BIND, NULL));
	refused("remount", mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL));
	refused("umount", umount2("/proc", MNT_DETACH));
	refused("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	refused("fspick", syscall(SYS_fspick, AT_FDCWD, "/", 0));
	refused("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/usr", 1));
	refused("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/usr", AT_FDCWD, "/tmp", 0));
	refused("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/usr", 0, buffer, 32));
	refused("pivot_root", syscall(SYS_pivot_root, ".", "."));
	refused("chroot", chroot("/tmp"));
	refused("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, buffer, 0));
	refused("name_to_handle_at", syscall(SYS_name_to_handle_at, AT_FDCWD, "/", buffer, buffer + 64, 0));
	refused("mknod disk", syscall(SYS_mknodat, AT_FDCWD, "/tmp/disk", S_IFBLK | 0666, 0x800));
	refused("mknod kmsg", syscall(SYS_mknodat, AT_FDCWD, "/tmp/kmsg", S_IFCHR | 0666, 0x10b));

	/* Init */
	refused("ptrace init", ptrace(PTRACE_ATTACH, 1, 0, 0));
	refused("ptrace seize init", ptrace(PTRACE_SEIZE, 1, 0, 0));
	refused("process_vm_readv", syscall(SYS_process_vm_readv, 1, &iov, 1, &there, 1, 0));
	refused("process_vm_writev", syscall(SYS_process_vm_writev, 1, &iov, 1, &there, 1, 0));
	refused("pidfd_open init", syscall(SYS_pidfd_open, 1, 0));
	refused("pidfd_getfd of init", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, 1, 0), 3, 0));
	refused("prlimit init", syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, &one, NULL));
	refused("setpriority init", setpriority(PRIO_PROCESS, 1, 19));
	refused("sched_setaffinity init", syscall(SYS_sched_setaffinity, 1, 8, "\1\0\0\0\0\0\0"));
	refused("kcmp init", syscall(SYS_kcmp, 1, getpid(), 0, 0, 0));
	refused("init's memory", open("/proc/1/mem", O_RDWR));
	refused("init's program", open("/proc/1/exe", O_RDONLY));
	refused("init's root", open("/proc/1/root/", O_RDONLY));
	refused("init's directory", open("/proc/1/cwd/", O_RDONLY));
	refused("init's descriptors", readlink("/proc/1/fd/3", buffer, sizeof buffer));
	refused("init's channel", open("/proc/1/fd/3", O_RDWR));
	refused("init's maps", open("/proc/1/maps", O_RDONLY));
	refused("init's environment", open("/proc/1/environ", O_RDONLY));
	refused("init's reprieve from the oom killer", write(open("/proc/1/oom_score_adj", O_WRONLY), "-1000", 5));
	refused("reprieve from the oom killer", write(open("/proc/self/oom_score_adj", O_WRONLY), "-1000", 5));

	/* Parts of the kernel that namespaces do not separate, or do badly */
	refused("bpf", syscall(SYS_bpf, 0, buffer, 64));
	refused("perf_event_open", syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0));
	refused("userfaultfd", syscall(SYS_userfaultfd, 0));
	refused("userfaultfd, user mode only", syscall(SYS_userfaultfd, 1));
	refused("io_uring_setup", syscall(SYS_io_uring_setup, 4, buffer));
	refused("keyctl", syscall(SYS_keyctl, 0, -3, 0));
	refused("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
	refused("request_key", syscall(SYS_request_key, "user", "x", NULL, -3));
	refused("init_module", syscall(SYS_init_module, buffer, 0, ""));
	refused("finit_module", syscall(SYS_finit_module, 0, "", 0));
	refused("delete_module", syscall(SYS_delete_module, "loop", 0));
	refused("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
	refused("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
	refused("swapon", syscall(SYS_swapon, "/tmp/x", 0));
	refused("swapoff", syscall(SYS_swapoff, "/tmp/x"));
	refused("acct", syscall(SYS_acct, "/tmp/x"));
	refused("quotactl", syscall(SYS_quotactl, 0x80000100, NULL, 0, NULL));
	refused("fanotify_init", syscall(SYS_fanotify_init, 0, 0));
	refused("syslog", syscall(SYS_syslog, 3, buffer, 100));
	refused("settimeofday", syscall(SYS_settimeofday, buffer, NULL));
	refused("clock_settime", syscall(SYS_clock_settime, 0, buffer));
	refused("sethostname", syscall(SYS_sethostname, "owned", 5));
	refused("setdomainname", syscall(SYS_setdomainname, "owned", 5));
	refused("personality", syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */));
	refused("vhangup", syscall(SYS_vhangup));
	refused("nice below 0", setpriority(PRIO_PROCESS, 0, -5));
#ifdef __x86_64__
	refused("iopl", syscall(SYS_iopl, 3));
	refused("ioperm", syscall(SYS_ioperm, 0, 1, 1));
#endif

	/* Sockets beyond AF_UNIX and the internet's */
	refused("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
	refused("packet socket, cooked", socket(AF_PACKET, SOCK_DGRAM, 0));
	refused("packet socket by another name", socket(AF_INET, 10 /* SOCK_PACKET */, 0x300));
	refused("raw socket", socket(AF_INET, SOCK_RAW, 1));
	refused("raw socket, version 6", socket(AF_INET6, SOCK_RAW, 58));
	refused("netfilter socket", socket(AF_NETLINK, SOCK_RAW, 12));
	refused("audit socket", socket(AF_NETLINK, SOCK_RAW, 9));
	refused("uevent socket", socket(AF_NETLINK, SOCK_RAW, 15));
	refused("generic netlink socket", socket(AF_NETLINK, SOCK_RAW, 16));
	refused("crypto socket", socket(38, SOCK_SEQPACKET, 0));
	refused("vsock", socket(40, SOCK_STREAM, 0));
	refused("tipc socket", socket(30, SOCK_STREAM, 0));
	refused("bluetooth socket", socket(31, SOCK_RAW, 1));
	refused("can socket", socket(29, SOCK_RAW, 1));
	refused("xdp socket", socket(44, SOCK_RAW, 0));
	refused("sctp socket", socket(AF_INET, SOCK_STREAM, 132));
	refused("socket of a family with high bits", syscall(SYS_socket, 0x100000028UL, SOCK_STREAM, 0));

	/* Terminals */
	gives("TIOCSTI", ioctl(0, 0x5412, "x"), EPERM);
	gives("TIOCSTI, high bits set", syscall(SYS_ioctl, 0, 0x100005412UL, "x"), EPERM);
	gives("TIOCLINUX", ioctl(0, 0x541C, "\3"), EPERM);
	gives("TIOCSETD", ioctl(0, 0x5423, buffer), EPERM);

	/* Privileges */
	refused("no_new_privs off", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	refused("ambient capability", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
	refused("seccomp off", prctl(PR_SET_SECCOMP, 0, 0, 0, 0));
	refused("uid 0", setuid(0) == 0 && getuid() == 0 && open("/etc/shadow", O_RDONLY) >= 0 ? 0 : -1);
	refused("open files above the limit", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &(struct rlimit){ 1 << 20, 1 << 20 }, NULL));
	refused("processes above the limit", syscall(SYS_prlimit64, 0, RLIMIT_NPROC, &(struct rlimit){ 1 << 20, 1 << 20 }, NULL));
	refused("core files", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &(struct rlimit){ 1 << 20, 1 << 20 }, NULL));

#ifdef __x86_64__
	foreign("a 32-bit call", int80);
	foreign("an x32 call", x32);
#endif
	if (!bad)
		puts("all refused");
	return bad;
}
