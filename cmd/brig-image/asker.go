package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// asker asks questions on a terminal.
type asker struct {
	lines chan string
	out   io.Writer
	rest  byte // the answer to all that follow: 'a', 'd' or 0
}

// newAsker reads answers in the background: a question can then be cancelled.
func newAsker(in io.Reader, out io.Writer) *asker {
	a := &asker{lines: make(chan string), out: out}
	go func() {
		defer close(a.lines)
		r := bufio.NewReader(in)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				a.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	return a
}

// errQuit is of a user who wants nothing more to be done.
var errQuit = errors.New("nothing more is applied")

// answer asks until one of the letters is the answer. The end of the input is q.
func (a *asker) answer(ctx context.Context, question, letters, help string) (byte, error) {
	for {
		fmt.Fprintf(a.out, "%s [%s]? ", question, strings.Join(strings.Split(letters+"?", ""), ","))
		var line string
		var ok bool
		select {
		case <-ctx.Done():
			fmt.Fprintln(a.out)
			return 0, context.Cause(ctx)
		case line, ok = <-a.lines:
		}
		if !ok {
			fmt.Fprintln(a.out)
			return 'q', nil
		}
		line = strings.ToLower(strings.TrimSpace(line))
		if len(line) == 1 && strings.Contains(letters, line) {
			return line[0], nil
		}
		fmt.Fprintln(a.out, help)
	}
}

const yesHelp = `y - yes
n - no
p - show the patch
a - yes, and to all that follow
d - no, and to all that follow
q - quit, and apply nothing of these
? - this help`

// yes asks about one change.
func (a *asker) yes(ctx context.Context, question string, show func() error) (bool, error) {
	for {
		switch a.rest {
		case 'a':
			return true, nil
		case 'd':
			return false, nil
		}
		c, err := a.answer(ctx, question, "ynpadq", yesHelp)
		if err != nil {
			return false, err
		}
		switch c {
		case 'y':
			return true, nil
		case 'n':
			return false, nil
		case 'p':
			if err := show(); err != nil {
				return false, err
			}
		case 'a', 'd':
			a.rest = c
		case 'q':
			return false, errQuit
		}
	}
}
