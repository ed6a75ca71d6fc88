// Package payload compiles the C programs that scripts of the tests run.
//
// In a virtual machine there is no compiler. What the host has compiled
// beforehand is carried in, named by its source, and found there.
package payload

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// Variable names the directory of programs compiled beforehand.
const Variable = "BRIG_TEST_PAYLOADS"

// ErrNotCompiled is returned by Compiled for a source that was not compiled
// beforehand.
var ErrNotCompiled = errors.New("not compiled beforehand")

// name is that of the compiled program in the directory of them.
func name(source []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(source))
}

// Compiled gives the program compiled beforehand from a source.
func Compiled(source []byte) (string, error) {
	dir := os.Getenv(Variable)
	if dir == "" {
		return "", fmt.Errorf("%w: %s is not set", ErrNotCompiled, Variable)
	}
	path := filepath.Join(dir, name(source))
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotCompiled, err)
	}
	return path, nil
}

// Compile writes the program of a source to a file. It is static, so that it
// runs in any root file system.
func Compile(source []byte, target string) error {
	cmd := exec.Command("gcc", "-O1", "-Wall", "-static", "-pthread", "-x", "c", "-", "-o", target)
	cmd.Stdin = bytes.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// CompileAll compiles every C source below a directory, and those within its
// txtar files, into another directory, where Compiled finds them.
func CompileAll(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		var sources [][]byte
		switch filepath.Ext(path) {
		case ".c":
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sources = append(sources, data)
		case ".txtar":
			archive, err := txtar.ParseFile(path)
			if err != nil {
				return err
			}
			for _, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".c") {
					sources = append(sources, f.Data)
				}
			}
		}
		for _, source := range sources {
			if err := Compile(source, filepath.Join(to, name(source))); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		return nil
	})
}
