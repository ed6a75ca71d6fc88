// expect: AC AC OLE
// Still tells on standard error about each pair it finds.
#include <iostream>
#include <string>
#include <vector>

int main()
{
	size_t n;
	std::cin >> n;
	std::vector<int> a(n);
	for (int &x : a)
		std::cin >> x;
	long long count = 0;
	for (size_t i = 0; i < n; i++) {
		std::string trace;
		for (size_t j = i + 1; j < n; j++)
			if (a[i] > a[j]) {
				trace += "pair " + std::to_string(i) + " " + std::to_string(j) + "\n";
				count++;
			}
		std::cerr << trace;
	}
	std::cout << count << "\n";
}
