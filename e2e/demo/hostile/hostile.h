/*
 * What the hostile programs share. Each try prints one line: what, a tab, and
 * "ok", the number of the error, or a remark. A program in which anything came
 * through exits with 0, one that was refused everywhere with 3.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>

static int came_through;

static void tried(const char *what, long result)
{
	if (result >= 0)
		came_through = 1;
	if (result >= 0)
		printf("%s\tok\n", what);
	else
		printf("%s\t%d\n", what, errno);
	fflush(stdout);
}

static int verdict(void) { return came_through ? 0 : 3; }
