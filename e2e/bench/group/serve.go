package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
)

// answer is what was measured, or why nothing was.
type answer struct {
	Took    time.Duration
	Problem string
}

// serve measures for whoever asks at a socket, one after the other: where a
// process starts decides into which groups it may be moved, and this one is
// where that is possible.
func serve(at, parent string) error {
	l, err := net.Listen("unix", at)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		var args []string
		if err := json.NewDecoder(bufio.NewReader(c)).Decode(&args); err == nil {
			if len(args) == 1 && args[0] == cgroup.Cgroupfs {
				args = append(args, parent)
			}
			var said answer
			if said.Took, err = measure(args); err != nil {
				said.Problem = err.Error()
			}
			_ = json.NewEncoder(c).Encode(said) // whoever asked may be gone
		}
		c.Close()
	}
}

// ask has it measured.
func ask(at string, args []string) (time.Duration, error) {
	c, err := net.Dial("unix", at)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(args); err != nil {
		return 0, err
	}
	var said answer
	if err := json.NewDecoder(c).Decode(&said); err != nil {
		return 0, err
	}
	if said.Problem != "" {
		return 0, errors.New(said.Problem)
	}
	return said.Took, nil
}
