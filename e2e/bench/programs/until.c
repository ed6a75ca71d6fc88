/*
 * Measures how long a program takes until it first asks for a user namespace,
 * or until it exits if it never does, and prints the nanoseconds from before
 * the fork. The program is the shipped one, unchanged: a seccomp filter that
 * notifies stops it at that system call, and it is killed there. The filter's
 * cost, some tens of nanoseconds a call, is part of the figure.
 *
 *   until COMMAND [ARG...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define NOTIFY BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define EQ(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)

static void fail(const char *what)
{
	fprintf(stderr, "until: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Notifies for exit_group, clone3, unshare and a clone with CLONE_NEWUSER. */
static int install_filter(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		EQ(SYS_exit_group, 6, 0),
		EQ(SYS_clone3, 5, 0),
		EQ(SYS_unshare, 4, 0),
		EQ(SYS_clone, 0, 2),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 1, 0),
		ALLOW,
		NOTIFY,
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static void child(int channel, char **argv)
{
	int null = open("/dev/null", O_RDWR);
	int listener = install_filter();
	if (listener < 0)
		fail("seccomp");
	/* The parent takes the listener by its number: see pidfd_getfd(2). */
	if (write(channel, &listener, sizeof listener) != sizeof listener)
		fail("tell the parent");
	char go;
	if (read(channel, &go, 1) != 1)
		_exit(125);
	close(channel);
	close(listener);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close(null);
	execv(argv[0], argv);
	_exit(127);
}

/* Whether a thread belongs to the process. */
static int is_thread_of(unsigned tid, pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task/%u", pid, tid);
	return access(path, F_OK) == 0;
}

/*
 * Waits for the call. A short-lived child of the program may exit first (Go
 * makes one to see whether process descriptors work): it is let go, since
 * without an answer it would try again for ever.
 */
static void await(int listener, pid_t pid, const char *name, struct seccomp_notif *n)
{
	struct pollfd ready = { .fd = listener, .events = POLLIN };

	for (;;) {
		if (poll(&ready, 1, 10000) != 1 || !(ready.revents & POLLIN)) {
			kill(pid, SIGKILL);
			fprintf(stderr, "until: %s neither asked for a user namespace nor exited\n", name);
			_exit(125);
		}
		memset(n, 0, sizeof *n);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, n) < 0) {
			if (errno == EINTR || errno == ENOENT)
				continue;
			fail("wait for the system call");
		}
		if (n->data.nr != SYS_exit_group || is_thread_of(n->pid, pid))
			return;
		struct seccomp_notif_resp answer = { .id = n->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

int main(int argc, char **argv)
{
	int channel[2], remote;
	struct seccomp_notif notification;

	if (argc < 2) {
		fprintf(stderr, "usage: until COMMAND [ARG...]\n");
		return 125;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0)
		fail("socketpair");
	long long fork_begin = now();
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	long long fork_cost = now() - fork_begin;
	if (pid == 0)
		child(channel[1], argv + 1);
	close(channel[1]);
	if (read(channel[0], &remote, sizeof remote) != sizeof remote)
		fail("the child");
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int listener = (int)syscall(SYS_pidfd_getfd, pidfd, remote, 0);
	if (pidfd < 0 || listener < 0)
		fail("take the listener");
	/* The clock runs from here: setting the filter up is not the program's. */
	long long begin = now() - fork_cost;
	if (write(channel[0], "g", 1) != 1)
		fail("start the child");
	await(listener, pid, argv[1], &notification);
	long long end = now();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("%lld %s\n", end - begin, notification.data.nr == SYS_exit_group ? "exit" : "clone");
	return 0;
}
