/* Writes to standard output and standard error, for ever. */
#include <string.h>
#include <unistd.h>

int main(void)
{
	static char lines[1 << 16];
	memset(lines, '\n', sizeof lines);
	while (write(1, lines, sizeof lines) > 0 && write(2, lines, sizeof lines) > 0)
		;
	return 0;
}
