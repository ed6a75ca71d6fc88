package probe

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorded are the hosts that plans are made for in tests. One is recorded
// with `brig doctor --json`.
const recorded = "../testdata/hosts"

// TestRecordedHosts: each reads back as it was written, and says why of all
// that it lacks.
func TestRecordedHosts(t *testing.T) {
	files, err := filepath.Glob(recorded + "/*.json")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d recorded hosts, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := Decode(text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if again, err := Encode(h); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%s is not as Encode writes it (%v)", file, err)
		}
		if k := ParseRelease(h.Kernel.Release); k != h.Kernel {
			t.Errorf("%s: kernel %+v", file, h.Kernel)
		}
		for _, name := range FactNames() {
			if f := h.Fact(name); !f.OK && (f.Cause == "" || f.Fix == "") {
				t.Errorf("%s: %s has no cause or fix", file, name)
			}
		}
		for _, path := range append(systemPaths, "/home/alice/project") {
			if f, ok := h.Files[path]; !ok || f.Type != Absent && f.Inode == 0 {
				t.Errorf("%s: %s: %+v", file, path, f)
			}
		}
	}
}

func TestDecodeStrict(t *testing.T) {
	for text, want := range map[string]string{
		`{}{}`:         "host: bytes after its end",
		`{"colour":1}`: `host: json: unknown field "colour"`,
		`{"uid":-1}`:   "host: json: cannot unmarshal number -1 into Go struct field Host.uid of type uint32",
		``:             "host: EOF",
	} {
		if _, err := Decode([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestCgroupLayout(t *testing.T) {
	for text, want := range map[string][2]string{
		"0::/user.slice/a b\n":            {"v2", "/user.slice/a b"},
		"1:name=systemd:/x\n0::/x\n":      {"v2", "/x"},
		"3:cpu,cpuacct:/\n0::/\n":         {"hybrid", "/"},
		"3:cpu,cpuacct:/\n1:name=x:/\n":   {"v1", ""},
		"":                                {"none", ""},
		"nonsense\n":                      {"none", ""},
		"0::/with:colon\n":                {"v2", "/with:colon"},
		strings.Repeat("9:pids:/\n", 100): {"v1", ""},
	} {
		if layout, own := cgroupLayout(text); layout != want[0] || own != want[1] {
			t.Errorf("%.20q: %s %q, want %q", text, layout, own, want)
		}
	}
}
