/*
 * Forks without end: every process of it forks whenever it can. The first one
 * goes on however often that is refused.
 */
#include <signal.h>
#include <unistd.h>

int main(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	for (;;)
		if (fork() < 0)
			usleep(1000);
}
