// expect: CE
#include <iostream>

int main()
{
	std::cout << inversions(std::cin) << "\n";
}
