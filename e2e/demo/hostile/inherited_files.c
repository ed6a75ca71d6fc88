/*
 * Uses descriptors that were left open, and opens its standard input again for
 * writing. What it writes there reaches a pipe of brig's or a file of the
 * caller's; the demo looks at the file.
 */
#include "hostile.h"
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
	char text[256];

	errno = EBADF;
	int left = -1;
	for (int fd = 3; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		left = fd;
		long n = read(fd, text, sizeof text);
		if (n > 0)
			fwrite(text, 1, n, stderr);
	}
	if (left < 0)
		errno = EBADF;
	tried("descriptors 3 to 1023", left);
	tried("truncate stdin", ftruncate(0, 0));
	int again = open("/proc/self/fd/0", O_RDWR | O_NONBLOCK);
	if (again >= 0 && write(again, "defaced\n", 8) < 0)
		tried("write to stdin", -1);
	return verdict();
}
