package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// recipe is all that an image is made from, except for the packages.
//
//go:embed image
var recipe embed.FS

// buildTime bounds the making of an image, with the way of its packages here.
const buildTime = 15 * time.Minute

// system is what a machine runs.
type system struct {
	name  string // of its tests
	suite string // of Debian
	// role is that in which it runs its part of the suite where the systems share it.
	role string
	// more names the scripts below testdata/machine for what only this one has.
	more []string
}

var systems = []system{
	{name: "debian12", suite: "bookworm", role: "user"},
	{name: "debian13", suite: "trixie", role: "root", more: []string{"podman"}},
}

func systemNamed(name string) (system, error) {
	var names []string
	for _, s := range systems {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return system{}, fmt.Errorf("no machine %q: there are %s", name, strings.Join(names, ", "))
}

// digest names a recipe by its content.
func (s system) digest() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(recipe, "image", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := recipe.ReadFile(path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(data), data)
		return err
	})
	return fmt.Sprintf("%x", sum.Sum(nil)[:8]), err
}

// image gives the directory with the system's disk, kernel and initrd. It is
// made when the cache has none of this recipe, which replaces those of older
// ones. Whoever asks at the same time waits.
func (s system) image(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	digest, err := s.digest()
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(cache, s.name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(cache, s.name+"-"+digest)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := s.forget(cache); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, s.name+"-new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.CopyFS(work, recipe); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	made := filepath.Join(work, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(work, "image", "build"), s.suite, made)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the image of %s: %w: %s", s.name, err, bytes.TrimSpace(out[max(0, len(out)-2048):]))
	}
	return dir, os.Rename(made, dir)
}

// forget removes images of other recipes and what broken builds have left.
func (s system) forget(cache string) error {
	old, err := filepath.Glob(filepath.Join(cache, s.name+"-*"))
	for _, dir := range old {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// cacheDir is where images are kept.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "brig-vm")
	return dir, os.MkdirAll(dir, 0o755)
}

// lock takes a lock that ends with this process.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
