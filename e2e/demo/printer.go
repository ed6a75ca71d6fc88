package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// printer writes for people: aligned columns, with colours on a terminal only.
type printer struct {
	w      io.Writer
	colour bool
}

func newPrinter(f *os.File) *printer {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &printer{w: f, colour: err == nil && os.Getenv("NO_COLOR") == ""}
}

func (p *printer) printf(format string, args ...any) { fmt.Fprintf(p.w, format, args...) }

func (p *printer) in(code, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *printer) bold(s string) string  { return p.in("1", s) }
func (p *printer) faint(s string) string { return p.in("2", s) }
func (p *printer) red(s string) string   { return p.in("31", s) }
func (p *printer) green(s string) string { return p.in("32", s) }

// section begins a part of the demo and shows how its jobs are called.
func (p *printer) section(title string, commands ...string) {
	p.printf("\n%s\n", p.bold(title))
	for _, c := range commands {
		p.printf("%s\n", p.faint("  $ "+c))
	}
	p.printf("\n")
}

// row writes the columns of a line, each as wide as widths says; what is longer
// pushes the rest on. A negative width aligns to the right. The last column is
// as long as it is.
func (p *printer) row(widths []int, columns ...string) {
	var b strings.Builder
	b.WriteString("  ")
	for i, c := range columns {
		if i == len(widths) {
			b.WriteString(c)
			break
		}
		b.WriteString(pad(c, widths[i]))
		b.WriteString("  ")
	}
	p.printf("%s\n", strings.TrimRight(b.String(), " "))
}

func pad(text string, width int) string {
	fill := max(width, -width) - utf8.RuneCountInString(visible(text))
	switch {
	case fill <= 0:
		return text
	case width < 0:
		return strings.Repeat(" ", fill) + text
	}
	return text + strings.Repeat(" ", fill)
}

// visible is a text without its colours.
func visible(text string) string {
	for {
		before, after, found := strings.Cut(text, "\x1b[")
		if !found {
			return text
		}
		_, rest, _ := strings.Cut(after, "m")
		text = before + rest
	}
}
