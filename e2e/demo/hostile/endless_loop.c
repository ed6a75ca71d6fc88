/* Computes for ever and ignores every signal that can be ignored. */
#include <signal.h>

int main(void)
{
	for (int s = 1; s < 65; s++)
		signal(s, SIG_IGN);
	for (volatile unsigned n = 0;; n++)
		;
}
