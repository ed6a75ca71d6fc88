package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	source "github.com/brig-sandbox/brig/e2e/payload"
)

// carried are the packages whose tests run in the machines. Those that need no
// kernel lose nothing by being tested outside.
var carried = []string{"e2e", "sandbox", "sandbox/cgroup"}

// payload makes the read-only disk that a machine mounts at /opt/brig:
//
//	bin/        the binaries and the agent
//	payloads/   the C programs of scripts, where there is a compiler here
//	src/        the tree, without what was built, and in it the compiled tests
func payload(ctx context.Context, tree, dir string) (string, error) {
	root := filepath.Join(dir, "payload")
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	if err := copyTree(tree, filepath.Join(root, "src")); err != nil {
		return "", err
	}
	for _, name := range []string{"brig", "brig-filterc", "brig-image"} {
		if err := copyFile(filepath.Join(tree, "bin", name), filepath.Join(bin, name), 0o755); err != nil {
			return "", fmt.Errorf("%w (make build makes it)", err)
		}
	}
	if err := goTool(ctx, tree, "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(bin, "agent"), "./e2e/vm/agent"); err != nil {
		return "", err
	}
	for _, pkg := range carried {
		target := filepath.Join(root, "src", pkg, filepath.Base(pkg)+".test")
		if err := goTool(ctx, tree, "test", "-c", "-tags", "machines", "-trimpath", "-ldflags", "-s -w", "-o", target, "./"+pkg); err != nil {
			return "", err
		}
	}
	if _, err := exec.LookPath("gcc"); err == nil {
		if err := os.Mkdir(filepath.Join(root, "payloads"), 0o755); err != nil {
			return "", err
		}
		if err := source.CompileAll(filepath.Join(tree, "e2e", "testdata"), filepath.Join(root, "payloads")); err != nil {
			return "", err
		}
	}
	disk := filepath.Join(dir, "payload.disk")
	// The size is the content's with room for ext4's own structures.
	size, err := sizeOf(root)
	if err != nil {
		return "", err
	}
	mkfs := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-L", "brig", "-m", "0", "-O", "^has_journal",
		"-E", "root_owner=0:0", "-d", root, disk, fmt.Sprintf("%dk", size/1024*5/4+16<<10))
	mkfs.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := mkfs.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mkfs.ext4: %w: %s", err, bytes.TrimSpace(out))
	}
	return disk, os.RemoveAll(root)
}

// goTool runs the go command in the tree. The machines have no C library to
// speak of, so nothing is linked with one.
func goTool(ctx context.Context, tree string, args ...string) error {
	tool := os.Getenv("GO")
	if tool == "" {
		tool = "go"
	}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOGC=400") // it need not look after its memory
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// notCarried are directories at the top of the tree that hold no source.
var notCarried = []string{".git", "bin", "dist"}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.IsDir() && slices.Contains(notCarried, rel):
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return copyFile(path, target, info.Mode().Perm()|0o444)
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, data, mode), os.Chmod(to, mode))
}

func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += (info.Size() + 4095) &^ 4095
		}
		return err
	})
	return size, err
}
