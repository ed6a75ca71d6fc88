package changes

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"golang.org/x/sys/unix"
)

// MaxPatch bounds what one side of a file in a patch has, in bytes: what it
// costs to find differences grows with it.
const MaxPatch = 1 << 20

// contextLines are as diff -u and git have them.
const contextLines = 3

// OpenNew opens the new file of a change for reading.
func (s *Source) OpenNew() (*os.File, error) {
	return openFile(s.new, s.path)
}

// side is one side of a file in a patch: nil where there is none.
type side struct {
	mode string // as git writes it
	text string
	not  string // why it is not shown
}

// Patch writes a change in the form of git diff, which git apply and patch -p1
// take. Directories have no place in one. What cannot be shown, because it is
// binary, too large or no file, is said in a line that both leave out.
func Patch(w io.Writer, c *Change, s *Source) error {
	if c.Type() == Directory && (c.Old == nil || c.Old.Type == Directory) {
		if c.Old != nil && c.New != nil && c.Old.Mode != c.New.Mode {
			return note(w, c.Path, fmt.Sprintf("the directory's mode is %04o, was %04o", c.New.Mode, c.Old.Mode))
		}
		return nil
	}
	before, err := readSide(c.Old, s.old, c.Path)
	if err != nil {
		return fmt.Errorf("%q: %w", clip("/"+c.Path), err)
	}
	after, err := readSide(c.New, s.new, c.Path)
	if err != nil {
		return fmt.Errorf("%q: %w", clip("/"+c.Path), err)
	}
	for _, f := range []*side{before, after} {
		if f != nil && f.not != "" {
			return note(w, c.Path, f.not)
		}
	}
	// As git has it, a file of another type is deleted and made again.
	if before != nil && after != nil && before.mode[:2] != after.mode[:2] {
		if err := writeFile(w, c.Path, before, nil); err != nil {
			return err
		}
		before = nil
	}
	return writeFile(w, c.Path, before, after)
}

func note(w io.Writer, p, why string) error {
	_, err := fmt.Fprintf(w, "# not in this patch: %s: %s\n", quote(p), why)
	return err
}

func readSide(m *Meta, layer int, p string) (*side, error) {
	switch {
	case m == nil || m.Type == Directory:
		return nil, nil
	case m.Type == Symlink:
		to, err := readLink(layer, p)
		return &side{mode: "120000", text: to}, err
	case m.Type != File:
		return &side{not: "it is a " + string(m.Type)}, nil
	case m.Size > MaxPatch:
		return &side{not: fmt.Sprintf("it is too large (%d bytes)", m.Size)}, nil
	}
	f, err := openFile(layer, p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxPatch+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxPatch {
		return nil, errors.New("it grows while it is read")
	}
	s := &side{mode: "100644", text: string(b)}
	if m.Mode&unix.S_IXUSR != 0 {
		s.mode = "100755"
	}
	if strings.IndexByte(s.text, 0) >= 0 {
		s.not = fmt.Sprintf("it is binary (%d bytes)", len(b))
	}
	return s, nil
}

// writeFile writes one file of a patch.
func writeFile(w io.Writer, p string, before, after *side) error {
	var head strings.Builder
	from, to := label("a/", p), label("b/", p)
	var old, now string
	fmt.Fprintf(&head, "diff --git %s %s\n", quote("a/"+p), quote("b/"+p))
	switch {
	case before == nil && after == nil:
		return nil
	case before == nil:
		fmt.Fprintf(&head, "new file mode %s\n", after.mode)
		from, now = "/dev/null", after.text
	case after == nil:
		fmt.Fprintf(&head, "deleted file mode %s\n", before.mode)
		to, old = "/dev/null", before.text
	default:
		old, now = before.text, after.text
		if before.mode != after.mode {
			fmt.Fprintf(&head, "old mode %s\nnew mode %s\n", before.mode, after.mode)
		} else if old == now {
			return note(w, p, "only its mode or owner differ, in a way that patches do not have")
		}
	}
	text := ""
	if old != now {
		var err error
		if text, err = udiff.ToUnified(from, to, old, udiff.Lines(old, now), contextLines); err != nil {
			return fmt.Errorf("%q: comparing it: %w", clip("/"+p), err)
		}
	}
	_, err := io.WriteString(w, head.String()+text)
	return err
}

// label is a name as it stands after --- and +++: with spaces in it a tab ends
// it.
func label(prefix, p string) string {
	q := quote(prefix + p)
	if q[0] != '"' && strings.Contains(q, " ") {
		q += "\t"
	}
	return q
}

// quote writes names as git does: with anything but printable ASCII in them, as
// a C string.
func quote(p string) string {
	plain := true
	for i := range len(p) {
		if c := p[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			plain = false
		}
	}
	if plain {
		return p
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(p) {
		switch c := p[i]; {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(rune(c)))
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
