package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// test is an input with the answer to it.
type test struct {
	name  string
	input string // a file
	want  string
}

// tests are the small ones that are stored and two that would be too large for
// it: descending sequences, in which every pair is out of order.
func (d *demo) tests() ([]test, error) {
	var list []test
	inputs, err := filepath.Glob(filepath.Join(d.dir, "tests", "*.in"))
	if err != nil {
		return nil, err
	}
	for _, input := range inputs {
		want, err := os.ReadFile(strings.TrimSuffix(input, ".in") + ".out")
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(input), ".in")
		list = append(list, test{name, input, strings.TrimSpace(string(want))})
	}
	for _, g := range []struct {
		name         string
		length, step int
	}{
		{"3-sparse", 20_000, 5_000}, // values up to a hundred million
		{"4-long", 100_000, 1},      // an answer of more than 32 bits
	} {
		input := filepath.Join(d.dir, "tests", g.name+".in")
		if err := os.WriteFile(input, descending(g.length, g.step), 0o600); err != nil {
			return nil, err
		}
		list = append(list, test{g.name, input, strconv.Itoa(g.length * (g.length - 1) / 2)})
	}
	return list, nil
}

// descending is the input length*step, (length-1)*step, ... step.
func descending(length, step int) []byte {
	b := fmt.Appendln(nil, length)
	for i := length; i > 0; i-- {
		b = strconv.AppendInt(b, int64(i*step), 10)
		b = append(b, ' ')
	}
	return append(b, '\n')
}
