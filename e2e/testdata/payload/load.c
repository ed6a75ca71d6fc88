/* Work of a known kind, for limits that the kernel holds:
 *
 *   load cpu SECONDS WORKERS   keeps so many processes busy; prints the CPU
 *                              time of all in ms
 *   load memory MIB SECONDS    touches memory and holds it; prints held
 *   load write FILE MIB        writes past the page cache; prints the ms it took
 *   load read FILE MIB         reads past the page cache; prints the ms it took
 *   load race                  makes processes as fast as it can, which end at
 *                              once, so that there is always another one
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int cpu(long seconds, int workers)
{
	long end = now() + seconds * 1000;
	for (int i = 0; i < workers; i++)
		if (fork() == 0) {
			while (now() < end)
				;
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	struct rusage u;
	getrusage(RUSAGE_CHILDREN, &u);
	printf("%ld\n", (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000);
	return 0;
}

static int memory(long mib, long seconds)
{
	char *p = malloc(mib << 20);
	if (!p)
		return fail("malloc");
	memset(p, 1, mib << 20);
	sleep(seconds);
	puts("held");
	return p[(mib << 20) - 1] - 1;
}

static int transfer(int writes, const char *file, long mib)
{
	void *block;
	int fd = open(file, (writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY) | O_DIRECT, 0600);
	if (fd < 0 || posix_memalign(&block, 4096, 1 << 18))
		return fail(file);
	memset(block, 1, 1 << 18);
	long begin = now();
	for (long i = 0; i < mib * 4; i++)
		if ((writes ? write(fd, block, 1 << 18) : read(fd, block, 1 << 18)) != 1 << 18)
			return fail(file);
	if (writes && fsync(fd))
		return fail(file);
	printf("%ld\n", now() - begin);
	return 0;
}

static int race(void)
{
	signal(SIGCHLD, SIG_IGN);
	if (fork() == 0)
		for (;;)
			if (fork() > 0)
				_exit(0);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "cpu"))
		return cpu(atol(argv[2]), atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "memory"))
		return memory(atol(argv[2]), atol(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "write"))
		return transfer(1, argv[2], atol(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "read"))
		return transfer(0, argv[2], atol(argv[3]));
	if (argc == 2 && !strcmp(argv[1], "race"))
		return race();
	fprintf(stderr, "usage: load cpu|memory|write|read|race ...\n");
	return 2;
}
