package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/cmd/imagecmd"
)

// imageProgram does the work of the commands for images. What it links costs
// each start, and a run needs none of it.
const imageProgram = "brig-image"

// imageCommands are the commands that brig hands on.
func imageCommands() []subcommand {
	var list []subcommand
	for _, c := range imagecmd.Commands() {
		list = append(list, subcommand{c.Name, func() *cobra.Command { return c.Build(becomeImageProgram) }})
	}
	return list
}

// becomeImageProgram replaces brig by the program that does the work. The
// command line has been checked by then.
func becomeImageProgram(*cobra.Command, []string) error {
	path, err := findImageProgram()
	if err != nil {
		return err
	}
	err = unix.Exec(path, append([]string{imageProgram}, os.Args[1:]...), os.Environ())
	return fmt.Errorf("executing %s: %w", path, err)
}

func findImageProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", imageProgram, err)
	}
	here := filepath.Dir(self)
	places := []string{filepath.Join(here, imageProgram), filepath.Join(here, "..", "libexec", "brig", imageProgram)}
	for _, path := range places {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("finding %s: %w", imageProgram, err)
		}
	}
	return "", fmt.Errorf("%s is not installed (looked for %s)\n  fix: install it beside brig", imageProgram, strings.Join(places, ", "))
}
