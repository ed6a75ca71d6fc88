/*
 * Takes memory by one route, as far as it gets, and holds it:
 *
 *   hog ROUTE [MIB [TIMES]]
 *
 * Exit code 0: all of it was had and held for a while, so nothing stopped it.
 * Exit code 3: the route is closed (the call that opens it failed).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
static size_t size = (size_t)300 * MIB;
static int times = 300;
static char block[MIB];

static void closed(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	_exit(3);
}

static int held(void)
{
	sleep(3);
	return 0;
}

static int touch(char *p, size_t n)
{
	if (p == MAP_FAILED || p == (void *)-1)
		closed("map");
	for (size_t i = 0; i < n; i += MIB)
		memset(p + i, 1, n - i < MIB ? n - i : MIB);
	return held();
}

static char *map(int fd, int flags, size_t n)
{
	return mmap(NULL, n, PROT_READ | PROT_WRITE, flags, fd, 0);
}

static int anonymous(void) { return touch(map(-1, MAP_PRIVATE | MAP_ANONYMOUS, size), size); }
static int shared(void) { return touch(map(-1, MAP_SHARED | MAP_ANONYMOUS, size), size); }

/* Shared memory whose pages no process has mapped: they live in the object. */
static int shared_dropped(void)
{
	char *p = map(-1, MAP_SHARED | MAP_ANONYMOUS, size);
	if (p == MAP_FAILED)
		closed("map");
	for (size_t i = 0; i < size; i += MIB) {
		memset(p + i, 1, MIB);
		madvise(p + i, MIB, MADV_DONTNEED);
	}
	return held();
}

/* The same, with all but the first page of the mapping gone. */
static int shared_unmapped(void)
{
	for (size_t done = 0; done < size; done += 16 * MIB) {
		char *p = map(-1, MAP_SHARED | MAP_ANONYMOUS, 16 * MIB);
		if (p == MAP_FAILED)
			closed("map");
		for (int i = 15; i >= 0; i--) {
			memset(p + i * MIB, 1, MIB);
			munmap(p + i * MIB + (i ? 0 : 4096), MIB - (i ? 0 : 4096));
		}
	}
	return held();
}

/* Shared memory by way of the zero device. */
static int zero_dropped(void)
{
	int fd = open("/dev/zero", O_RDWR);
	char *p = fd < 0 ? MAP_FAILED : map(fd, MAP_SHARED, size);
	if (p == MAP_FAILED)
		closed("/dev/zero");
	for (size_t i = 0; i < size; i += MIB) {
		memset(p + i, 1, MIB);
		madvise(p + i, MIB, MADV_DONTNEED);
	}
	return held();
}

static int memfd(void)
{
	int fd = memfd_create("hog", 0);
	if (fd < 0)
		closed("memfd_create");
	for (size_t i = 0; i < size; i += MIB)
		if (write(fd, block, MIB) != MIB)
			closed("write");
	return held();
}

static int secret(void)
{
	int fd = syscall(SYS_memfd_secret, 0);
	if (fd < 0 || ftruncate(fd, size) < 0)
		closed("memfd_secret");
	return touch(map(fd, MAP_SHARED, size), size);
}

static int sysv(void)
{
	int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
	if (id < 0)
		closed("shmget");
	return touch(shmat(id, NULL, 0), size);
}

/* Message queues: 16 KiB each, thousands of them. */
static int messages(void)
{
	struct { long type; char text[8192]; } m = { 1, "" };
	size_t had = 0;
	while (had < size) {
		int id = msgget(IPC_PRIVATE, 0600);
		if (id < 0)
			closed("msgget");
		while (had < size && msgsnd(id, &m, sizeof m.text, IPC_NOWAIT) == 0)
			had += sizeof m.text;
	}
	return held();
}

/* Sets of semaphores: each semaphore takes a cache line. */
static int semaphores(void)
{
	for (size_t had = 0; had < size; had += 32000 * 64)
		if (semget(IPC_PRIVATE, 32000, 0600) < 0)
			closed("semget");
	return held();
}

static int write_file(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	if (fd < 0)
		closed(path);
	for (size_t i = 0; i < size; i += MIB)
		if (write(fd, block, MIB) != MIB)
			closed(path);
	return held();
}

static int scratch(void) { return write_file("/tmp/hog"); }
static int shm(void) { return write_file("/dev/shm/hog"); }

/* A file that no name leads to any more. */
static int deleted(void)
{
	int fd = open("/tmp/hog", O_CREAT | O_RDWR, 0600);
	if (fd < 0 || unlink("/tmp/hog") < 0)
		closed("/tmp/hog");
	for (size_t i = 0; i < size; i += MIB)
		if (write(fd, block, MIB) != MIB)
			closed("write");
	return held();
}

static int children(void)
{
	for (int i = 0; i < 20; i++)
		if (fork() == 0)
			_exit(touch(map(-1, MAP_PRIVATE | MAP_ANONYMOUS, size / 20), size / 20));
	while (wait(NULL) > 0)
		;
	return 0;
}

static void *worker(void *unused)
{
	(void)unused;
	usleep(200000); /* until the first thread has ended */
	_exit(anonymous());
}

/* The first thread ends and others go on: the process looks like a zombie. */
static int leaderless(void)
{
	pthread_t t;
	if (pthread_create(&t, NULL, worker, NULL) != 0)
		closed("pthread_create");
	syscall(SYS_exit, 0);
	return 2;
}

/* Page tables for a mapping of zero pages, which count as no memory. */
static int page_tables(void)
{
	size_t span = size * 512;
	for (size_t done = 0; done < span; done += (size_t)1 << 36) {
		size_t n = span - done < (size_t)1 << 36 ? span - done : (size_t)1 << 36;
		volatile char *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			closed("map");
		madvise((void *)p, n, MADV_NOHUGEPAGE);
		for (size_t i = 0; i < n; i += 2 * MIB)
			(void)p[i];
	}
	return held();
}

/* A stack that is touched in places far apart, then everywhere. */
static int stack(void)
{
	volatile char frame[256 << 10];
	static size_t depth;
	for (size_t i = 0; i < sizeof frame; i += 4096)
		frame[i] = 1;
	depth += sizeof frame;
	if (depth >= size)
		return held();
	return stack() + frame[0] * 0;
}

/*
 * Memory well below the limit, shared for moments with a child that is about
 * to execute a program: nothing may count it twice. This one must succeed.
 */
static int vforks(void)
{
	char *p = map(-1, MAP_PRIVATE | MAP_ANONYMOUS, size);
	if (p == MAP_FAILED)
		closed("map");
	memset(p, 1, size);
	for (int i = 0; i < times; i++) {
		pid_t pid = vfork();
		if (pid == 0) {
			usleep(i == 0 ? 400000 : 5000); /* the first is slow to start */
			execl("/bin/true", "true", (char *)NULL);
			_exit(127);
		}
		if (pid < 0)
			closed("vfork");
		waitpid(pid, NULL, 0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*take)(void);
	} routes[] = {
		{ "anonymous", anonymous }, { "shared", shared }, { "shared-dropped", shared_dropped },
		{ "shared-unmapped", shared_unmapped }, { "zero-dropped", zero_dropped },
		{ "memfd", memfd }, { "secret", secret }, { "sysv", sysv }, { "messages", messages },
		{ "semaphores", semaphores }, { "scratch", scratch }, { "shm", shm }, { "deleted", deleted },
		{ "children", children }, { "leaderless", leaderless }, { "page-tables", page_tables },
		{ "stack", stack }, { "vforks", vforks },
	};
	if (argc > 2)
		size = strtoul(argv[2], NULL, 10) * MIB;
	if (argc > 3)
		times = atoi(argv[3]);
	for (size_t i = 0; argc > 1 && i < sizeof routes / sizeof *routes; i++)
		if (!strcmp(argv[1], routes[i].name))
			return routes[i].take();
	fprintf(stderr, "hog: no such route\n");
	return 2;
}
