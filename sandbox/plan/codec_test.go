package plan

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCodecRoundTrip(t *testing.T) {
	p := everything()
	data, err := Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got.Digest() != p.Digest() {
		t.Error("the digest changed")
	}
}

func TestEncodeRefusesWhatJSONCannotHold(t *testing.T) {
	p := everything()
	p.Find(Exec).Names[1] = "caf\xe9"
	const want = `plan: op 48 (exec): "caf\xe9" is not UTF-8 and has no form in JSON: use the text form`
	if _, err := Encode(p); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDecodeErrors(t *testing.T) {
	good, err := Encode(everything())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, in, want string }{
		{"empty", "", "plan: EOF"},
		{"trailing value", string(good) + "{}", "plan: bytes after its end"},
		{"trailing bytes", string(good) + "x", "plan: bytes after its end"},
		{"unknown field", `{"versoin": 1}`, `plan: json: unknown field "versoin"`},
		{"unknown field of an op", `{"ops": [{"kind": "exec", "argv": []}]}`, `plan: json: unknown field "argv"`},
		{"unknown kind", `{"ops": [{"kind": "mount"}]}`, `plan: no such kind of op: "mount"`},
		{"kind as a number", `{"ops": [{"kind": 3}]}`, "plan: json: cannot unmarshal number into Go struct field Op.ops.kind of type plan.Kind"},
		{"negative flags", `{"ops": [{"kind": "exec", "flags": -1}]}`, "plan: json: cannot unmarshal number -1 into Go struct field Op.ops.flags of type plan.Flags"},
		{"id beyond 32 bits", `{"ids": {"clone_uid": 4294967296}}`, "plan: json: cannot unmarshal number 4294967296 into Go struct field IDs.ids.clone_uid of type uint32"},
		{"null", "null", "plan: invalid plan: version 0, this is version 1"},
		{"unsafe", strings.Replace(string(good), `"pivot"`, `"fork"`, 1), "plan: unsafe order: op 32: read-only-root must come before fork"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Decode([]byte(tt.in))
			if p != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
	_, err = Decode([]byte(strings.Replace(string(good), `"pivot"`, `"fork"`, 1)))
	if !errors.Is(err, ErrOrder) {
		t.Errorf("%v does not wrap ErrOrder", err)
	}
}

// Every field that changes what is done changes the digest.
func TestDigest(t *testing.T) {
	before := everything().Digest()
	if !strings.HasPrefix(before, "sha256:") || len(before) != len("sha256:")+64 {
		t.Error(before)
	}
	changes := map[string]func(*Plan){
		"version":    func(p *Plan) { p.Version++ },
		"namespaces": func(p *Plan) { p.Namespaces = p.Namespaces[:5] },
		"map":        func(p *Plan) { p.IDs.Map = "isolated" },
		"by":         func(p *Plan) { p.IDs.By = ByParent },
		"clone uid":  func(p *Plan) { p.IDs.CloneUID++ },
		"clone gid":  func(p *Plan) { p.IDs.CloneGID++ },
		"uid map":    func(p *Plan) { p.IDs.UID[0].Count++ },
		"gid map":    func(p *Plan) { p.IDs.GID[0].Outside++ },
		"stdio":      func(p *Plan) { p.Stdio = Pipes },
		"kind":       func(p *Plan) { p.Find(Mask).Kind = Protect },
		"source":     func(p *Plan) { p.Find(Open).Source = "/opt" },
		"target":     func(p *Plan) { p.Find(Bind).Target = "/opt" },
		"data":       func(p *Plan) { p.Find(File).Data = "x" },
		"handle":     func(p *Plan) { p.Find(Bind).Handle = 2 },
		"device":     func(p *Plan) { p.Ops[5].CharDevice = 1<<8 | 5 },
		"flags":      func(p *Plan) { p.Find(Open).Flags = ReadOnly },
		"mode":       func(p *Plan) { p.Find(Mkdir).Mode = 0o700 },
		"size":       func(p *Plan) { p.Find(Scratch).Size++ },
		"inodes":     func(p *Plan) { p.Find(Tmpfs).Inodes = 5 },
		"soft":       func(p *Plan) { p.Find(Rlimit).Size = 0 },
		"hard":       func(p *Plan) { p.Find(Rlimit).Inodes = 0 },
		"uid":        func(p *Plan) { p.Find(JobIDs).UID++ },
		"gid":        func(p *Plan) { p.Find(InitIDs).GID++ },
		"groups":     func(p *Plan) { p.Find(JobIDs).Groups = nil },
		"names":      func(p *Plan) { p.Find(Exec).Names[1] = "tset" },
		"write":      func(p *Plan) { p.Find(Exec).Write = p.Find(Exec).Write[1:] },
		"ops":        func(p *Plan) { drop(Seccomp)(p) },
		"limits":     func(p *Plan) { p.Limits[0].Value = "1" },
		"notes":      func(p *Plan) { p.Notes = nil },
	}
	seen := map[string]string{before: "nothing"}
	for name, change := range changes {
		p := everything()
		change(p)
		if other, ok := seen[p.Digest()]; ok {
			t.Errorf("changing %s gives the digest of changing %s", name, other)
		}
		seen[p.Digest()] = name
	}
	p := everything()
	p.Ops[4].Device, p.Ops[4].Inode = 1, 1
	if p.Digest() != before {
		t.Error("the numbers a source happens to have are in the digest")
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Encode(everything())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	byRoot, err := Encode(viewed())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byRoot)
	f.Add([]byte(`{"version":1,"ops":[{"kind":"exec","names":["\u0000\u202e\n"]}]}`))
	f.Add([]byte(`{"version":1,"namespaces":["user","mnt","pid","ipc","uts"],"ids":{"map":"single","by":"init","clone_uid":1,"uid":[{"inside":0,"outside":1,"count":4294967295}],"gid":[{}]},"stdio":"pipes","ops":null,"limits":[]}`))
	f.Add([]byte(`{"ops":[{"kind":"sysctl","target":"..x"},{"kind":"open","handle":-1}]}`))
	f.Add(bytes.ReplaceAll(good, []byte(`"/work"`), []byte(`"/work\n  1 exec"`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode(data)
		if err != nil {
			if p != nil {
				t.Fatal("a plan with an error")
			}
			return
		}
		again, err := Encode(p)
		if err != nil {
			t.Fatalf("a decoded plan cannot be encoded: %v", err)
		}
		q, err := Decode(again)
		if err != nil {
			t.Fatalf("what was encoded cannot be decoded: %v\n%s", err, again)
		}
		if p.String() != q.String() {
			t.Fatalf("%s\nbecame\n%s", p, q)
		}
		last, err := Encode(q)
		if err != nil || !bytes.Equal(again, last) {
			t.Fatalf("%s\nbecame\n%s (%v)", again, last, err)
		}
		lines := 6 + len(p.Ops) + len(p.Limits) + len(p.Notes) + 3
		if n := strings.Count(p.String(), "\n"); n != lines {
			t.Fatalf("%d lines, want %d:\n%s", n, lines, p)
		}
	})
}
