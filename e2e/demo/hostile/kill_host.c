/*
 * Kills a process of the host: kill_host PID [all]. With "all", and only where
 * its own number tells that it is in a sandbox, it goes on to everything else.
 */
#include "hostile.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	tried("host's process", kill(atoi(argv[1]), SIGKILL));
	if (argc > 2 && !strcmp(argv[2], "all") && getpid() < 10) {
		tried("everything", kill(-1, SIGKILL));
		/* A signal to init is accepted, and init does not die of it. */
		kill(1, SIGKILL);
		kill(getppid(), SIGKILL);
	}
	return verdict();
}
