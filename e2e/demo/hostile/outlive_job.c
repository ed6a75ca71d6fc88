/* Leaves a daemon behind that ignores every signal, and ends. */
#include <signal.h>
#include <unistd.h>

int main(void)
{
	for (int s = 1; s < 65; s++)
		signal(s, SIG_IGN);
	if (fork() == 0) {
		setsid();
		if (fork() == 0)
			for (;;)
				sleep(60);
		_exit(0);
	}
	usleep(100000);
	return 3;
}
