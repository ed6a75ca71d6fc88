/* expect: AC AC AC TLE */
/* Right, but with n * n steps. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	int n;
	if (scanf("%d", &n) != 1)
		return 1;
	volatile int *a = malloc(n * sizeof *a);
	for (int i = 0; i < n; i++)
		if (scanf("%d", (int *)&a[i]) != 1)
			return 1;
	long long count = 0;
	for (int end = n; end > 1; end--)
		for (int i = 1; i < end; i++)
			if (a[i - 1] > a[i]) {
				int t = a[i];
				a[i] = a[i - 1];
				a[i - 1] = t;
				count++;
			}
	printf("%lld\n", count);
	return 0;
}
