/* Reads what is private: read_secrets FILE... */
#include "hostile.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void steal(const char *path)
{
	char text[256];
	int fd = open(path, O_RDONLY);
	long n = fd < 0 ? -1 : read(fd, text, sizeof text);
	tried(path, n);
	if (n > 0)
		fwrite(text, 1, n, stderr);
}

int main(int argc, char **argv)
{
	char path[4096];
	const char *home = getenv("HOME");

	steal("/etc/shadow");
	steal("/proc/1/environ");
	snprintf(path, sizeof path, "%s/.ssh/id_ed25519", home ? home : "");
	steal(path);
	for (int i = 1; i < argc - 1; i++) {
		steal(argv[i]);
		snprintf(path, sizeof path, "/proc/1/root%s", argv[i]);
		steal(path);
	}
	return verdict();
}
