/*
 * Tries to change, through /proc/self/fd, what is behind standard input, or
 * with any argument what is behind standard output.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const int modes[] = { O_RDWR, O_WRONLY, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND, O_RDONLY };
	int fd = argc > 1 ? 1 : 0;
	char path[64], text[64];

	(void)argv;
	if (ftruncate(fd, 0) == 0)
		puts("cut off");
	if (lseek(fd, 0, SEEK_SET) == 0)
		puts("moved to the start");
	if (fd == 1 && read(1, text, sizeof text) > 0)
		puts("read from the output");
	for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		int again = open(path, modes[i] | O_NONBLOCK);
		struct stat st;
		if (again < 0)
			continue;
		/* A pipe takes what is written; it leads to nobody's file. */
		if (fstat(again, &st) == 0 && S_ISREG(st.st_mode)) {
			puts("a file of the caller's");
			if (write(again, "defaced\n", 8) > 0)
				puts("written");
		}
		close(again);
	}
	puts("changed nothing");
	return 0;
}
