/* expect: AC AC AC WA */
/* The right method, but the counter has 32 bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int sort_and_count(int *a, int *spare, int n)
{
	if (n < 2)
		return 0;
	int mid = n / 2, i = 0, j = mid, k = 0;
	unsigned count = sort_and_count(a, spare, mid);
	count += sort_and_count(a + mid, spare, n - mid);
	while (i < mid || j < n) {
		if (j == n || (i < mid && a[i] <= a[j])) {
			spare[k++] = a[i++];
		} else {
			count += mid - i;
			spare[k++] = a[j++];
		}
	}
	memcpy(a, spare, n * sizeof *a);
	return (int)count;
}

int main(void)
{
	int n;
	if (scanf("%d", &n) != 1)
		return 1;
	int *a = malloc(n * sizeof *a), *spare = malloc(n * sizeof *a);
	for (int i = 0; i < n; i++)
		if (scanf("%d", &a[i]) != 1)
			return 1;
	printf("%d\n", sort_and_count(a, spare, n));
	return 0;
}
