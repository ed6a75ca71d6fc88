// expect: AC AC AC AC
// Counts inversions while sorting by merging: n log n steps, 64-bit counter.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <vector>

static int64_t sort_and_count(std::vector<int> &a, size_t lo, size_t hi)
{
	if (hi - lo < 2)
		return 0;
	size_t mid = lo + (hi - lo) / 2;
	int64_t count = sort_and_count(a, lo, mid) + sort_and_count(a, mid, hi);
	std::vector<int> merged;
	merged.reserve(hi - lo);
	for (size_t i = lo, j = mid; i < mid || j < hi;) {
		if (j == hi || (i < mid && a[i] <= a[j])) {
			merged.push_back(a[i++]);
		} else {
			count += int64_t(mid - i);
			merged.push_back(a[j++]);
		}
	}
	std::copy(merged.begin(), merged.end(), a.begin() + lo);
	return count;
}

int main()
{
	size_t n;
	std::cin >> n;
	std::vector<int> a(n);
	for (int &x : a)
		std::cin >> x;
	std::cout << sort_and_count(a, 0, n) << "\n";
}
