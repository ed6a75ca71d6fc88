// Command leakcheck shows that a run of the tests left nothing on the host:
//
//	leakcheck before FILE   # remembers what is there
//	leakcheck after FILE    # fails and lists what has been added since
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "leakcheck: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: leakcheck before|after FILE")
	}
	switch when, file := args[0], args[1]; when {
	case "before":
		now, err := sandboxtest.Take(sandboxtest.Host)
		if err != nil {
			return err
		}
		data, err := json.Marshal(now)
		if err != nil {
			return err
		}
		return os.WriteFile(file, data, 0o644)
	case "after":
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var before sandboxtest.Snapshot
		if err := json.Unmarshal(data, &before); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		left, err := sandboxtest.Left(before, sandboxtest.Host)
		if err != nil {
			return err
		}
		for _, item := range left {
			fmt.Println("left behind:", item)
		}
		if len(left) > 0 {
			return fmt.Errorf("%d things were left behind", len(left))
		}
		fmt.Println("nothing was left behind")
		return nil
	default:
		return fmt.Errorf("unknown argument %q: want before or after", when)
	}
}
