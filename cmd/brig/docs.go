//go:build docs

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// docsCommands adds the generator of man pages and completions. It exists only
// under the build tag docs, because cobra/doc brings a Markdown and a YAML
// library whose tables every run of brig would initialise.
func docsCommands() []subcommand {
	return []subcommand{{"docs", newDocsCommand}}
}

func newDocsCommand() *cobra.Command {
	var man, completions string
	cmd := &cobra.Command{
		Use:    "docs",
		Short:  "Write man pages and shell completions",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			root := newRootCommand(nil)
			if err := writeMan(root, man); err != nil {
				return err
			}
			return writeCompletions(root, completions)
		},
	}
	cmd.Flags().StringVar(&man, "man", "", "write the man pages into this `directory`")
	cmd.Flags().StringVar(&completions, "completions", "", "write the completions into this `directory`")
	return cmd
}

func writeMan(root *cobra.Command, dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("man pages: %w", err)
	}
	root.DisableAutoGenTag = true // pages must not differ from day to day
	header := &doc.GenManHeader{Title: "BRIG", Section: "1", Source: "brig " + version(), Manual: "brig manual"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("man pages: %w", err)
	}
	return nil
}

func writeCompletions(root *cobra.Command, dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("completions: %w", err)
	}
	for name, write := range map[string]func(string) error{
		"brig.bash": func(path string) error { return root.GenBashCompletionFileV2(path, true) },
		"_brig":     root.GenZshCompletionFile,
		"brig.fish": func(path string) error { return root.GenFishCompletionFile(path, true) },
	} {
		if err := write(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("completions: %w", err)
		}
	}
	return nil
}
