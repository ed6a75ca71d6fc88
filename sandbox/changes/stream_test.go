package changes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a stream with everything in it.
func sample(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	e := NewEncoder(&b)
	dir := &Meta{Type: Directory, Mode: 0o755}
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("end"), 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Change{
		{Kind: Added, Path: "a\xff\n", New: dir},
		{Kind: Added, Path: "a\xff\n/f", New: &Meta{Type: File, Mode: 0o600, Size: 1<<20 + 3}, Within: true},
		{Kind: Changed, Path: "b", Old: dir, New: &Meta{Type: Symlink, Mode: 0o777, Size: 2}, Target: ".."},
		{Kind: Deleted, Path: "c", Old: dir},
	} {
		err = errors.Join(err, e.Change(c))
		if c.New != nil && c.New.Type == File {
			err = errors.Join(err, e.Content(f))
		}
	}
	if err := errors.Join(err, e.Close(nil)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestStream(t *testing.T) {
	stream := sample(t)
	if len(stream) > 64<<10 {
		t.Errorf("%d bytes: the hole was written out", len(stream))
	}
	for _, how := range []string{"read", "skipped", "written"} {
		d := NewDecoder(bytes.NewReader(stream))
		var paths []string
		for {
			c, err := d.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, c.Path+c.Target)
			if c.New == nil || c.New.Type != File {
				continue
			}
			switch how {
			case "read":
				b, err := io.ReadAll(d)
				if err != nil || len(b) != 1<<20+3 || string(b[1<<20:]) != "end" || len(bytes.Trim(b[:1<<20], "\x00")) > 0 {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			case "written":
				f, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.WriteContent(f, c.New.Size); err != nil {
					t.Error(err)
				}
				if b, err := os.ReadFile(f.Name()); err != nil || len(b) != 1<<20+3 || string(b[1<<20:]) != "end" {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				f.Close()
			}
		}
		if got := strings.Join(paths, " "); got != "a\xff\n a\xff\n/f b.. c" {
			t.Errorf("%s: %q", how, got)
		}
	}
}

func TestStreamError(t *testing.T) {
	var b bytes.Buffer
	e := NewEncoder(&b)
	if err := e.Close(errors.New("no luck" + strings.Repeat("!", 1<<20))); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDecoder(&b).Next(); err == nil || !strings.HasPrefix(err.Error(), "no luck!") || len(err.Error()) > maxError {
		t.Errorf("%.20v", err)
	}
}

// frames makes a stream by hand.
func frames(list ...string) []byte {
	var b bytes.Buffer
	e := NewEncoder(&b)
	for _, s := range list {
		_ = e.frame(s[0], []byte(s[1:]))
	}
	_ = e.w.Flush()
	return b.Bytes()
}

func TestStreamRefuses(t *testing.T) {
	const a = `c{"kind":"A","path":"YQ==","new":{"type":"file","mode":420,"size":1}}` // a
	for _, tt := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"nothing", nil, "it ends early"},
		{"no end", frames(a), "it ends early"},
		{"half a frame", frames(a)[:20], "it ends early"},
		{"an unknown frame", frames("?"), `a frame '?' of 0 bytes`},
		{"too long", []byte{'d', 1, 0, 0, 0}, `a frame 'd' of 16777216 bytes`},
		{"twice", frames(a, a, "z"), `"a" comes after "a"`},
		{"more", append(frames(a, "z"), 0), "something follows its end"},
		{"an end of something", frames("zx"), `a frame 'z' of 1 bytes`},
		{"..", frames(`c{"kind":"A","path":"Li4=","new":{"type":"file"}}`), `"..": not a path below the directory`},
		{"../x", frames(`c{"kind":"A","path":"Li4veA==","new":{"type":"file"}}`), `"../x": not a path below the directory`},
		{"/x", frames(`c{"kind":"A","path":"L3g=","new":{"type":"file"}}`), `"/x": not a path below the directory`},
		{"no path", frames(`c{"kind":"A","new":{"type":"file"}}`), `"": not a path below the directory`},
		{"a zero in it", frames(`c{"kind":"A","path":"YQBi","new":{"type":"file"}}`), `"a\x00b": not a path below the directory`},
		{"no such type", frames(`c{"kind":"A","path":"YQ==","new":{"type":"pear"}}`), `a file of type "pear"`},
		{"no file", frames(`c{"kind":"A","path":"YQ=="}`), `"a": a change of kind "A" does not look so`},
		{"no such kind", frames(`c{"kind":"Z","path":"YQ==","new":{"type":"file"}}`), `"a": a change of kind "Z" does not look so`},
		{"a large mode", frames(`c{"kind":"A","path":"YQ==","new":{"type":"file","mode":4096}}`), `mode 10000, size 0`},
		{"a link to nothing", frames(`c{"kind":"A","path":"YQ==","new":{"type":"symlink"}}`), `"a": a target of 0 bytes`},
		{"no JSON", frames(`c{`), "unexpected end of JSON input"},
		{"an endless hole", frames(a, "h\xff\xff\xff\xff\xff\xff\xff\xff", "z"), "a hole of 18446744073709551615 bytes"},
	} {
		d := NewDecoder(bytes.NewReader(tt.stream))
		var err error
		for err == nil {
			_, err = d.Next()
		}
		if !errors.Is(err, ErrStream) || err.Error() != ErrStream.Error()+": "+tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, tt := range []struct {
		stream []byte
		want   string
	}{
		{frames(a, "d12", "z"), "more than the file's 1 bytes"},
		{frames(a, "z"), "0 bytes of a file of 1"},
		{frames(a, "d1", "h\x00\x00\x00\x00\x00\x00\x00\x01", "z"), "more than the file's 1 bytes"},
	} {
		d := NewDecoder(bytes.NewReader(tt.stream))
		if _, err := d.Next(); err != nil {
			t.Fatal(err)
		}
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.WriteContent(f, 1); !errors.Is(err, ErrStream) || err.Error() != ErrStream.Error()+": "+tt.want {
			t.Errorf("%v", err)
		}
		f.Close()
	}
}

// FuzzDecoder: whatever the stream, what comes out is checked and in order.
func FuzzDecoder(f *testing.F) {
	f.Add(sample(f))
	f.Add(frames("z"))
	f.Add(frames("xerror"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		d := NewDecoder(bytes.NewReader(stream))
		last := ""
		for i := 0; ; i++ {
			c, err := d.Next()
			if err != nil {
				break
			}
			if err := c.check(); err != nil || i > 0 && !Less(last, c.Path) {
				t.Fatalf("%q after %q: %v", c.Path, last, err)
			}
			last = c.Path
			if i%2 == 0 {
				_, _ = io.Copy(io.Discard, io.LimitReader(d, 1<<16))
			}
		}
	})
}

// FuzzJournal: whatever the journal, its steps name nothing outside.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"op":"begin","dev":1,"inode":2}
{"op":"make","path":"YQ==","temp":".brig-apply-X"}
{"op":"swap","path":"YQ==","temp":".brig-apply-X","inode":7}
{"op":"done","path":"YQ=="}
{"op":"torn`))
	f.Fuzz(func(t *testing.T, text []byte) {
		steps, whole, err := readJournal(bytes.NewReader(text))
		if err != nil {
			return
		}
		if whole > int64(len(text)) || whole > 0 && text[whole-1] != '\n' {
			t.Fatalf("%d bytes are whole", whole)
		}
		for i, s := range steps {
			if (s.Op == stepBegin) != (i == 0) || i > 0 && CheckPath(string(s.Path)) != nil || strings.Contains(s.Temp, "/") {
				t.Fatalf("step %d: %+v", i, s)
			}
		}
	})
}
