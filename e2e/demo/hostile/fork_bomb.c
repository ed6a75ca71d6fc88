/* Every process makes new ones as fast as it can, for ever. */
#include "hostile.h"
#include <unistd.h>

int main(void)
{
	pid_t first = getpid();
	int told = 0;
	for (;;) {
		if (fork() < 0 && getpid() == first && !told) {
			tried("fork", -1);
			told = 1;
		}
	}
	return verdict();
}
