/* Writes where it was not invited: write_outside FILE... */
#include "hostile.h"
#include <fcntl.h>
#include <unistd.h>

static void deface(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND);
	tried(path, fd < 0 ? -1 : write(fd, "defaced\n", 8));
}

int main(int argc, char **argv)
{
	char path[4096];

	for (int i = 1; i < argc - 1; i++) {
		deface(argv[i]);
		snprintf(path, sizeof path, "/proc/1/root%s", argv[i]);
		deface(path);
	}
	deface("/etc/passwd");
	deface("/usr/bin/env");
	deface("/proc/sys/kernel/core_pattern");
	deface("/proc/sysrq-trigger");
	tried("/usr/bin/new", open("/usr/bin/brig-demo", O_CREAT | O_WRONLY, 0755));
	tried("/new", open("/brig-demo", O_CREAT | O_WRONLY, 0755));
	return verdict();
}
