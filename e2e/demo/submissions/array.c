/* expect: AC AC RE */
/* Room for a thousand numbers, whatever the input says. */
#include <stdio.h>

int main(void)
{
	int n, a[1000];
	long long count = 0;
	if (scanf("%d", &n) != 1)
		return 1;
	for (int i = 0; i < n; i++) {
		if (scanf("%d", &a[i]) != 1)
			return 1;
		for (int j = 0; j < i; j++)
			count += a[j] > a[i];
	}
	printf("%lld\n", count);
	return 0;
}
