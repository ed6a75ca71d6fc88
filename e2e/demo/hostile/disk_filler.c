/* Fills every directory that it may write to. */
#include "hostile.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	static char block[1 << 20];
	const char *dirs[] = { "/tmp", "/var/tmp", "/dev/shm", "/run", "." };
	long written = 0, limit = 512;

	signal(SIGXFSZ, SIG_IGN);
	memset(block, 1, sizeof block);
	for (unsigned i = 0; i < sizeof dirs / sizeof *dirs; i++) {
		char path[64];
		snprintf(path, sizeof path, "%s/filler", dirs[i]);
		int fd = open(path, O_CREAT | O_WRONLY, 0600);
		if (fd < 0)
			continue;
		while (written < limit && write(fd, block, sizeof block) > 0)
			written++;
		tried(dirs[i], written < limit ? -1 : 0);
		close(fd);
	}
	printf("written\t%ld MiB\n", written);
	return verdict();
}
