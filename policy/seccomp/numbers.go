package seccomp

import (
	"sort"
	"strings"
)

// number is one row of the table of system calls.
type number struct {
	name         string
	amd64, arm64 int16
}

// on is the call's number on an architecture, or -1.
func (n *number) on(arch string) int {
	switch arch {
	case AMD64:
		return int(n.amd64)
	case ARM64:
		return int(n.arm64)
	}
	return -1
}

// indexOf is the place of a system call in numbers, or -1.
func indexOf(name string) int {
	i := sort.Search(len(numbers), func(i int) bool { return numbers[i].name >= name })
	if i < len(numbers) && numbers[i].name == name {
		return i
	}
	return -1
}

// lookupCall finds a system call by name, on whatever architecture it exists.
func lookupCall(name string) *number {
	if i := indexOf(name); i >= 0 {
		return &numbers[i]
	}
	return nil
}

// highest is the largest number with a name on an architecture.
func highest(arch string) uint32 {
	top := 0
	for i := range numbers {
		top = max(top, numbers[i].on(arch))
	}
	return uint32(top)
}

// nearest is the name most like a misspelt one, or "".
func nearest(name string) string {
	best, bestDistance := "", len(name)/3+2
	try := func(candidate string) {
		if d := distance(name, candidate); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	if strings.HasPrefix(name, "@") {
		for i := range groups {
			try(groups[i].Name)
		}
		return best
	}
	for i := range numbers {
		try(numbers[i].name)
	}
	return best
}

// distance counts the letters to add, remove or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
