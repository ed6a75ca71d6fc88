package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// suggestFlag names the flags of a command that one which it does not have may have
// been meant for. It is looked at when parsing has failed.
func suggestFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return err
	}
	var near []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && resembles(unknown.GetSpecifiedName(), f.Name) {
			near = append(near, "--"+f.Name)
		}
	})
	if len(near) == 0 || len(near) > 5 { // a choice of more is none
		return err
	}
	last := len(near) - 1
	text := near[last]
	if last > 0 {
		text = strings.Join(near[:last], ", ") + " or " + text
	}
	return fmt.Errorf("%w\n  fix: did you mean %s?", err, text)
}

// resembles tells whether a name that was typed has a flag's beginning or is its
// beginning, or differs in one or two letters that were changed, left out or added.
// Of very short names neither says anything.
func resembles(typed, flag string) bool {
	if len(typed) < 3 || len(typed) > 2*len(flag)+2 {
		return false
	}
	return strings.HasPrefix(flag, typed) || len(flag) > 3 && strings.HasPrefix(typed, flag) ||
		distance(typed, flag) <= min(2, len(flag)/3)
}

// distance is Levenshtein's of the bytes of two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
