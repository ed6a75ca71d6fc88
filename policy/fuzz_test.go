package policy

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/brig-sandbox/brig/configs"
)

func addShipped(f *testing.F) {
	f.Helper()
	for _, name := range ShippedNames(configs.FS) {
		text, err := fs.ReadFile(configs.FS, name+".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, seed := range []string{
		"version = 1\r\nlimits.ulimit.nice = {soft = 1, hard = 2}\r\n",
		"version = 1\n\"limits\".'memory' = '''1GiB'''\nextends = \"strict\"\n",
		"version = 1\n[[seccomp.rule]]\nnames = [\"read\"]\naction = \"EIO\"\nargs = [{index = 2, op = \"gt\", value = \"0xffffffffffffffff\"}]\n",
		"\ufeffversion = 1\n[environment]\ninherit = [\"PATH\"]\nset = { \"\\u00e4 b\" = \"\\u202e\" }\n",
		"version = 1\nfilesystem = { root = \"dir:x\", mount = [ { source = \"~\", target = \"/a\" }, # c\n ] }\n",
		"version = 1\n[[limits.io]]\ndevice = \"\\n\"\nread_bps = \"1B\"\n",
	} {
		f.Add(seed)
	}
}

// FuzzPolicy: no file makes Load panic, and what it accepts can be written and
// loads as the same policy.
func FuzzPolicy(f *testing.F) {
	addShipped(f)
	opts := LoadOptions{Name: "/p/x.toml", Shipped: configs.FS, Dir: "/home/alice/project", HomeDir: "/home/alice"}
	f.Fuzz(func(t *testing.T, text string) {
		opts.Files = fstest.MapFS{"p/x.toml": {Data: []byte(text)}}
		p, origins, err := Load(opts)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error that says nothing")
			}
			return
		}
		p.Explain(origins)
		encoded, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		opts.Files = fstest.MapFS{"p/x.toml": {Data: encoded}}
		again, _, err := Load(opts)
		if err != nil {
			t.Fatalf("%v\n%s", err, encoded)
		}
		if diff := cmp.Diff(p, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("policy (-first +again):\n%s\n%s", diff, encoded)
		}
	})
}

// FuzzLines: the scanner of lines finds every key that the parser finds.
func FuzzLines(f *testing.F) {
	addShipped(f)
	f.Fuzz(func(t *testing.T, text string) {
		doc := document{name: "x"}
		if fault := readDocument(fstest.MapFS{"x": {Data: []byte(text)}}, "x", &doc, false); fault != nil {
			return
		}
		var walk func(v any, at string)
		walk = func(v any, at string) {
			if _, ok := doc.lines[at]; !ok && at != "" {
				t.Errorf("%q has no line in %q", at, text)
			}
			switch x := v.(type) {
			case map[string]any:
				for name, value := range x {
					walk(value, join(at, quoteKey(name)))
				}
			case []map[string]any:
				for i, value := range x {
					walk(value, index(at, i))
				}
			case []any:
				for i, value := range x {
					walk(value, index(at, i))
				}
			}
		}
		walk(doc.tree, "")
	})
}
