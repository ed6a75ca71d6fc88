package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/brig-sandbox/brig/sandbox/image/layer"
)

// The roles inside the sandbox.
const (
	roleUnpack = "sandboxed-unpack"
	roleRemove = "sandboxed-remove"
)

// answer is what the sandboxed program prints: one line of JSON.
type answer struct {
	Report *layer.Report `json:"report,omitempty"`
	Error  string        `json:"error,omitempty"`
}

func say(w io.Writer, a answer) int {
	_ = json.NewEncoder(w).Encode(a) // a broken pipe has nobody to tell
	if a.Error != "" {
		return 1
	}
	return 0
}

// sandboxedUnpack makes DIR/tree of the layer on standard input.
func sandboxedUnpack(args []string, in io.Reader, out io.Writer) int {
	var opts layer.Options
	if len(args) != 2 {
		return say(out, answer{Error: "usage: " + roleUnpack + " DIR OPTIONS"})
	}
	if err := json.Unmarshal([]byte(args[1]), &opts); err != nil {
		return say(out, answer{Error: err.Error()})
	}
	tree := filepath.Join(args[0], "tree")
	err := os.Mkdir(tree, 0o755)
	if err == nil {
		err = os.Chmod(tree, 0o755) //nolint:gosec // the root of a layer, whatever the umask is
	}
	var report *layer.Report
	if err == nil {
		report, err = layer.Extract(in, tree, opts)
	}
	if err != nil {
		return say(out, answer{Error: err.Error()})
	}
	return say(out, answer{Report: report})
}

// sandboxedRemove empties a directory.
func sandboxedRemove(args []string, out io.Writer) int {
	for _, dir := range args {
		if err := layer.Empty(dir); err != nil {
			return say(out, answer{Error: fmt.Sprint(err)})
		}
	}
	return say(out, answer{})
}
