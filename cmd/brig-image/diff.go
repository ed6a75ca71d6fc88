package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/changes"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

// openContainer finds a container and locks it.
func openContainer(ref string, mode engine.Mode) (*changer, func(), error) {
	store, err := engine.OpenDefault()
	if err != nil {
		return nil, nil, err
	}
	if mode == engine.Exclusive {
		warnSweep(context.Background(), store)
	}
	c, err := store.Find(ref)
	if err != nil {
		return nil, nil, err
	}
	release, err := c.Lock(mode)
	if err != nil {
		return nil, nil, err
	}
	x, err := newChanger(c)
	if err != nil {
		release()
		return nil, nil, err
	}
	return x, release, nil
}

func runDiff(cmd *cobra.Command, args []string) error {
	x, release, err := openContainer(args[0], engine.Shared)
	if err != nil {
		return err
	}
	defer release()
	list, err := selectPaths(x.c, args[1:])
	if err != nil {
		return err
	}
	flag := func(name string) bool { on, _ := cmd.Flags().GetBool(name); return on }
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	if flag("patch") {
		err = x.printPatches(cmd.Context(), out, list, onTerminal(cmd.OutOrStdout()))
		return errors.Join(err, out.Flush())
	}
	p := &diffPrinter{out: out, long: flag("long"), all: flag("all"), json: flag("json"), null: flag("null")}
	p.begin(x.c)
	for i := range list {
		s := &list[i]
		var found []*changes.Change
		err := x.each(cmd.Context(), &s.overlay, ask{What: askScan}, func(c *changes.Change, _ *changes.Decoder) error {
			if len(s.paths) > 0 {
				// Paths that select nothing are complained of, so all are kept.
				if len(found) >= maxChanges {
					return errTooManyChanges
				}
				found = append(found, c)
				return nil
			}
			return p.change(&s.overlay, c)
		})
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		if found, err = s.pick(found); err != nil {
			return err
		}
		for _, c := range found {
			if err := p.change(&s.overlay, c); err != nil {
				return err
			}
		}
		if err := p.flush(&s.overlay); err != nil {
			return err
		}
	}
	p.end()
	return out.Flush()
}

// maxChanges bounds how many changes are held in memory.
const maxChanges = 1 << 20

var errTooManyChanges = fmt.Errorf("there are more than %d changes\n  fix: see all of them with brig diff without paths; throw them away with brig discard", maxChanges)

// onTerminal tells whether a stream is a terminal.
func onTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isTerminal(f)
}

// diffPrinter prints changes.
type diffPrinter struct {
	out                   *bufio.Writer
	long, all, json, null bool
	tops                  changes.Tops
	some                  bool
}

// jsonChange is a change as --json has it.
type jsonChange struct {
	Kind    changes.Kind `json:"kind"`
	Path    engine.Bytes `json:"path"`
	Mount   engine.Bytes `json:"mount"`
	Old     *jsonMeta    `json:"old,omitempty"`
	New     *jsonMeta    `json:"new,omitempty"`
	Content bool         `json:"content,omitempty"`
	Target  engine.Bytes `json:"target,omitempty"`
	Within  bool         `json:"within,omitempty"`
}

type jsonMeta struct {
	Type changes.Type `json:"type"`
	Mode string       `json:"mode"`
	Size int64        `json:"size"`
}

func metaJSON(m *changes.Meta) *jsonMeta {
	if m == nil {
		return nil
	}
	return &jsonMeta{m.Type, fmt.Sprintf("%04o", m.Mode), m.Size}
}

func (p *diffPrinter) begin(c *engine.Container) {
	if p.json {
		name, _ := json.Marshal(c.Name)
		fmt.Fprintf(p.out, "{\"id\":%q,\"name\":%s,\"changes\":[", c.ID, name)
	}
}

func (p *diffPrinter) end() {
	if p.json {
		fmt.Fprint(p.out, "\n]}\n")
	}
}

func (p *diffPrinter) change(o *engine.Overlay, c *changes.Change) error {
	switch {
	case p.json:
		b, err := json.Marshal(jsonChange{c.Kind, engine.Bytes(inside(o, c.Path)), engine.Bytes(o.Target), metaJSON(c.Old), metaJSON(c.New), c.Content, engine.Bytes(c.Target), c.Within})
		if err != nil {
			return err
		}
		comma := ","
		if !p.some {
			comma = ""
		}
		p.some = true
		_, err = fmt.Fprintf(p.out, "%s\n%s", comma, b)
		return err
	case p.all:
		return p.line(o, &changes.Group{Change: c, Bytes: c.Size()})
	}
	return p.line(o, p.tops.Add(c))
}

// flush prints what an overlay's last change was a part of.
func (p *diffPrinter) flush(o *engine.Overlay) error { return p.line(o, p.tops.Last()) }

func (p *diffPrinter) line(o *engine.Overlay, g *changes.Group) error {
	if g == nil {
		return nil
	}
	var err error
	switch name := inside(o, g.Path); {
	case p.null:
		_, err = fmt.Fprintf(p.out, "%s %s\x00", g.Kind, name)
	case p.long:
		_, err = fmt.Fprintln(p.out, longLine(g, name))
	default:
		_, err = fmt.Fprintf(p.out, "%s %s\n", g.Kind, safe(name))
	}
	return err
}

// longLine is a group with its type, mode, size and what is different.
func longLine(g *changes.Group, name string) string {
	m := g.New
	if m == nil {
		m = g.Old
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%04o %8s  %s", g.Kind, typeLetter(m.Type), m.Mode, size(g.Bytes), safe(name))
	if g.Target != "" {
		fmt.Fprintf(&b, " -> %s", safe(g.Target))
	}
	if w := g.What(); w != "" {
		fmt.Fprintf(&b, "  (%s)", w)
	}
	if g.Files > 0 {
		fmt.Fprintf(&b, "  (with %s)", count(g.Files, "entry", "entries"))
	}
	return b.String()
}

func count(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func typeLetter(t changes.Type) string {
	switch t {
	case changes.Directory:
		return "d"
	case changes.Symlink:
		return "l"
	case changes.FIFO:
		return "p"
	case changes.Socket:
		return "s"
	case changes.Device:
		return "b"
	case changes.File:
	}
	return "-"
}

// printPatches prints a patch for each overlay. On a terminal nothing of what the
// job wrote can steer it.
func (x *changer) printPatches(ctx context.Context, out *bufio.Writer, list []selection, tty bool) error {
	for i := range list {
		s := &list[i]
		q := ask{What: askPatch}
		for _, p := range s.paths {
			q.Paths = append(q.Paths, []byte(p))
		}
		headed := len(list) == 1
		err := x.each(ctx, &s.overlay, q, func(_ *changes.Change, d *changes.Decoder) error {
			if !headed {
				headed = true
				fmt.Fprintf(out, "# %s\n", safe(s.overlay.Target))
			}
			if tty {
				return copySafe(out, d)
			}
			_, err := io.Copy(out, d)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copySafe copies text line by line in a form that is fit for a terminal.
func copySafe(w io.Writer, r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		text, whole := strings.CutSuffix(line, "\n")
		parts := strings.Split(text, "\t")
		for i := range parts {
			parts[i] = safe(parts[i])
		}
		text = strings.Join(parts, "\t")
		if whole {
			text += "\n"
		}
		if _, werr := io.WriteString(w, text); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
