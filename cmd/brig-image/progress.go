package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/image/registry"
)

// words are what the states of a layer are called.
type words map[registry.State]string

var (
	pullWords = words{registry.Moving: "downloading", registry.Moved: "downloaded", registry.Present: "already here", registry.Unpacked: "unpacked"}
	pushWords = words{registry.Moving: "uploading", registry.Moved: "uploaded", registry.Present: "already there"}
)

// redraw is how often bars are drawn anew.
const redraw = 100 * time.Millisecond

// progress shows how far layers are: as bars on a terminal, and otherwise a line
// for each change of a layer's state.
type progress struct {
	out   io.Writer // nil with --quiet
	words words
	bars  bool

	mu     sync.Mutex
	layers []registry.Progress // by number
	drawn  int                 // lines above the cursor
	stop   chan struct{}
	wg     sync.WaitGroup
}

func newProgress(cmd *cobra.Command, title string, w words) *progress {
	p := &progress{words: w, stop: make(chan struct{})}
	if quiet, _ := cmd.Flags().GetBool("quiet"); quiet {
		return p
	}
	p.out, p.bars = cmd.ErrOrStderr(), redrawable()
	p.say("%s", title)
	if p.bars {
		p.wg.Go(func() {
			for {
				select {
				case <-time.After(redraw):
					p.mu.Lock()
					p.draw()
					p.mu.Unlock()
				case <-p.stop:
					return
				}
			}
		})
	}
	return p
}

// layer takes in news of one layer. A state does not go back: a layer may be
// unpacked before its download has told of its end.
func (p *progress) layer(l registry.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.layers) < l.Layers {
		p.layers = append(p.layers, registry.Progress{Number: len(p.layers) + 1, Layers: l.Layers})
	}
	have := &p.layers[l.Number-1]
	news := l.State > have.State
	if l.State >= have.State {
		*have = l
	}
	if news && !p.bars && p.out != nil {
		fmt.Fprintf(p.out, "layer %d of %d, %s: %s %s\n", l.Number, l.Layers, l.Digest.Short(), p.words[l.State], size(l.Total))
	}
}

// note prints a line, above the bars if there are any.
func (p *progress) note(text string) { p.say("brig: note: %s", safe(text)) }

func (p *progress) say(format string, a ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil {
		return
	}
	p.clear()
	fmt.Fprintf(p.out, format+"\n", a...)
}

// clear takes the bars away.
func (p *progress) clear() {
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// draw draws the bars, as many as fit on the terminal: the first that are not at
// their end.
func (p *progress) draw() {
	rows, columns := terminalSize()
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	lines := bars(p.layers, p.words, rows-2, columns)
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	p.drawn = len(lines)
	_, _ = io.WriteString(p.out, b.String())
}

// bars are the lines for some layers.
func bars(layers []registry.Progress, w words, rows, columns int) []string {
	skip := 0 // layers at their end, where there are too many
	for skip < len(layers)-rows && layers[skip].State > registry.Moved {
		skip++
	}
	var lines []string
	for _, l := range layers[skip:min(len(layers), skip+max(1, rows))] {
		if l.Digest == "" {
			lines = append(lines, cut(fmt.Sprintf("%3d waiting", l.Number), columns))
			continue
		}
		const width = 30
		full := width
		if l.Total > 0 {
			full = min(width, int(float64(width)*float64(l.Done)/float64(l.Total)))
		}
		bar := strings.Repeat("=", full) + strings.Repeat(" ", width-full)
		lines = append(lines, cut(fmt.Sprintf("%3d %s [%s] %7s/%-7s %s", l.Number, l.Digest.Short(), bar, size(l.Done), size(l.Total), w[l.State]), columns))
	}
	return lines
}

func cut(line string, columns int) string { return line[:min(len(line), max(1, columns-1))] }

// terminalSize is the size of the terminal behind stderr.
func terminalSize() (rows, columns int) {
	ws, err := unix.IoctlGetWinsize(int(os.Stderr.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Row < 3 || ws.Col < 20 {
		return 24, 80
	}
	return int(ws.Row), int(ws.Col)
}

// end leaves the last state on the terminal.
func (p *progress) end() {
	close(p.stop)
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars && len(p.layers) > 0 {
		p.draw()
		p.drawn = 0
	}
}
