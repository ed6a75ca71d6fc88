package main

import (
	"bufio"
	"bytes"
	"strings"
)

// result is what became of one test in a machine.
type result struct {
	name   string
	status string // PASS, FAIL, SKIP; empty for one that did not end
	output strings.Builder
}

// marker stands in front of every line of the testing package when it writes
// for test2json: a test's own output cannot be mistaken for one.
const marker = '\x16'

// readReport takes the output of a test binary run with -test.v=test2json apart
// into its tests, in the order in which they began.
func readReport(report []byte) []*result {
	var results []*result
	var current *result
	find := func(name string) *result {
		for _, r := range results {
			if r.name == name {
				return r
			}
		}
		results = append(results, &result{name: name})
		return results[len(results)-1]
	}
	in := bufio.NewScanner(bytes.NewReader(report))
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		line := in.Text()
		mark := strings.IndexByte(line, marker)
		if mark < 0 {
			if current != nil {
				current.output.WriteString(line + "\n")
			}
			continue
		}
		if current != nil && mark > 0 {
			current.output.WriteString(line[:mark] + "\n")
		}
		word, rest, _ := strings.Cut(strings.TrimLeft(line[mark+1:], " "), " ")
		switch word {
		case "===": // RUN, CONT, NAME or PAUSE
			_, name, _ := strings.Cut(rest, " ")
			current = nil
			if name = strings.TrimSpace(name); name != "" {
				current = find(name)
			}
		case "---":
			status, name, _ := strings.Cut(rest, ": ")
			name, _, _ = strings.Cut(name, " (")
			current = find(name)
			current.status = status
		}
	}
	return results
}
