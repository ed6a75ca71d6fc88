package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/brig-sandbox/brig/sandbox/atomicfile"
	"github.com/brig-sandbox/brig/sandbox/image/layer"
)

// The roles inside the sandbox.
const (
	roleUnpack = "sandboxed-unpack"
	roleRemove = "sandboxed-remove"
	rolePack   = "sandboxed-pack"
	roleSize   = "sandboxed-size"
)

// answer is what the sandboxed program prints: one line of JSON.
type answer struct {
	Report *layer.Report `json:"report,omitempty"`
	Error  string        `json:"error,omitempty"`
	Full   bool          `json:"full,omitempty"` // the error is that the disk is
}

// failed is the answer for an error.
func failed(err error) answer { return answer{Error: err.Error(), Full: atomicfile.Full(err)} }

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
		return say(out, failed(err))
	}
	return say(out, answer{Report: report})
}

// sandboxedPack writes layers to out as an archive, and its answer to errs.
func sandboxedPack(args []string, out, errs io.Writer) int {
	var opts layer.PackOptions
	if len(args) < 2 {
		return say(errs, answer{Error: "usage: " + rolePack + " OPTIONS LAYER..."})
	}
	if err := json.Unmarshal([]byte(args[0]), &opts); err != nil {
		return say(errs, answer{Error: err.Error()})
	}
	w := bufio.NewWriterSize(out, 256<<10)
	report, err := layer.Pack(w, args[1:], opts)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return say(errs, answer{Error: err.Error()})
	}
	return say(errs, answer{Report: report})
}

// sandboxedSize adds up what is below directories.
func sandboxedSize(args []string, out io.Writer) int {
	report := &layer.Report{}
	for _, dir := range args {
		if err := layer.Size(dir, report); err != nil {
			return say(out, answer{Error: err.Error()})
		}
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
