/*
 * The kernel's own price of a sandbox: what nobody who wants these namespaces
 * and mounts can do without. One process clones a child into fresh namespaces;
 * the child maps its own id, makes the mounts that a run under brig's default
 * policy has (the benchmark compares them), pivots and executes its arguments;
 * the parent waits. No policy, no filter, no limits, no init, no report.
 *
 *   price COMMAND [ARG...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_RDONLY
struct mount_attr { uint64_t attr_set, attr_clr, propagation, userns_fd; };
#define MOUNT_ATTR_RDONLY 1
#define MOUNT_ATTR_NOSUID 2
#define MOUNT_ATTR_NODEV 4
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static void fail(const char *what)
{
	fprintf(stderr, "price: %s: %s\n", what, strerror(errno));
	_exit(125);
}

#define must(call) do { if ((call) < 0) fail(#call); } while (0)

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail(path);
	close(fd);
}

static void file(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
	if (fd < 0)
		fail(path);
	close(fd);
}

/* Binds /PATH read-only, with everything below it, where the host has it. */
static void given(const char *path)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	char from[64];
	struct stat st;

	snprintf(from, sizeof from, "/%s", path);
	if (lstat(from, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode))
		must(mkdir(path, 0755));
	else
		file(path);
	must(mount(from, path, NULL, MS_BIND | MS_REC, NULL));
	must(syscall(SYS_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, &ro, sizeof ro));
}

static void device(const char *name)
{
	char from[64], to[64];
	snprintf(from, sizeof from, "/dev/%s", name);
	snprintf(to, sizeof to, "dev/%s", name);
	file(to);
	must(mount(from, to, NULL, MS_BIND, NULL));
}

/* Hides a part of /proc, where this kernel has it. */
static void mask(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode))
		must(mount("none", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "nr_inodes=1,mode=555"));
	else
		must(mount("dev/null", path, NULL, MS_BIND, NULL));
}

static void build_root(void)
{
	static const char *const links[] = { "bin", "sbin", "lib", "lib64" };
	static const char *const etc[] = { "etc/alternatives", "etc/ld.so.cache", "etc/ssl", "etc/pki", "etc/crypto-policies" };
	static const char *const devices[] = { "null", "zero", "full", "random", "urandom", "tty" };
	static const char *const masked[] = {
		"proc/acpi", "proc/asound", "proc/interrupts", "proc/kcore", "proc/keys", "proc/latency_stats",
		"proc/sched_debug", "proc/scsi", "proc/sysrq-trigger", "proc/timer_list", "proc/timer_stats",
	};

	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1g,nr_inodes=200000"));
	must(mkdir("/tmp/upper", 0755));
	must(mkdir("/tmp/index", 0755));
	must(mkdir("/tmp/work", 0755));
	/* "." is still the directory that the caller was in. */
	must(mount("overlay", "/tmp/work", "overlay", MS_NOSUID | MS_NODEV,
		   "lowerdir=.,upperdir=/tmp/upper,workdir=/tmp/index,userxattr"));
	must(chdir("/tmp"));
	given("usr");
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++) {
		char target[32];
		snprintf(target, sizeof target, "usr/%s", links[i]);
		must(symlink(target, links[i]));
	}
	must(mkdir("etc", 0755));
	for (unsigned i = 0; i < sizeof etc / sizeof *etc; i++)
		given(etc[i]);
	must(mkdir("tmp", 01777));
	must(mkdir("dev", 0755));
	for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++)
		device(devices[i]);
	must(mkdir("dev/pts", 0755));
	must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
	must(symlink("pts/ptmx", "dev/ptmx"));
	must(mkdir("proc", 0555));
	must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	for (unsigned i = 0; i < sizeof masked / sizeof *masked; i++)
		mask(masked[i]);
	must(syscall(SYS_pivot_root, ".", "."));
	must(umount2(".", MNT_DETACH));
	must(chdir("/"));
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		fail("bring lo up");
	close(fd);
}

int main(int argc, char **argv)
{
	struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
			 CLONE_NEWUTS | CLONE_NEWCGROUP,
		.exit_signal = SIGCHLD,
	};
	char uids[64], gids[64];
	int status;

	if (argc < 2) {
		fprintf(stderr, "usage: price COMMAND [ARG...]\n");
		return 125;
	}
	snprintf(uids, sizeof uids, "1000 %d 1", getuid());
	snprintf(gids, sizeof gids, "1000 %d 1", getgid());
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid < 0)
		fail("clone3");
	if (pid == 0) {
		put("/proc/self/setgroups", "deny");
		put("/proc/self/uid_map", uids);
		put("/proc/self/gid_map", gids);
		must(sethostname("brig", 4));
		loopback_up();
		build_root();
		execv(argv[1], argv + 1);
		fail(argv[1]);
	}
	if (waitpid((pid_t)pid, &status, 0) < 0)
		fail("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
