package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/brig-sandbox/brig/sandbox"
)

// testModule runs the tests of a Go module on a copy-on-write view of its
// source, offline, and has the job delete that source in the end.
func (d *demo) testModule(module, goroot string) error {
	dir := filepath.Join(d.dir, "module")
	flags := []string{"--policy", "ci"}
	if !strings.HasPrefix(goroot, "/usr/") { // which every sandbox sees
		flags = append(flags, "-v", goroot+":"+goroot+":ro")
	}
	flags = append(flags, "-e", "PATH="+goroot+"/bin:/usr/bin:/bin")
	for _, v := range []string{"GOCACHE=/tmp/go-build", "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local"} {
		flags = append(flags, "-e", v)
	}
	command := []string{"sh", "-c", "go test -json ./...; code=$?; rm -rf ./*; exit $code"}
	d.out.section("A test suite: "+module+", offline, copy-on-write, deleted by the job at its end",
		"brig run "+shell(flags...)+" -- "+shell(command...))

	files, before, err := digest(dir)
	if err != nil {
		return err
	}
	f, err := d.runJob(job{dir: dir, flags: flags, command: command})
	if err != nil {
		return err
	}
	_, after, err := digest(dir)
	if err != nil {
		return err
	}
	tests, packages, failed := countTests(f.stdout)
	label := []int{10}
	d.out.row(label, "tests", fmt.Sprintf("%d passed in %d packages, %d failed", tests, packages, len(failed)))
	d.out.row(label, "used", fmt.Sprintf("%s wall, %s CPU, %s of memory, %d processes and threads at a time",
		seconds(f.Usage.Wall), f.cpu(), f.memory(), f.Usage.PIDsPeak))
	d.out.row(label, "source", fmt.Sprintf("%d files, sha256 %s... before, %s... after", files, before[:12], after[:12]))
	if f.Outcome != sandbox.OutcomeOK || tests == 0 || len(failed) > 0 {
		d.wrong("outcome %s, %s; failed: %s\n%s", f.Outcome, f.Message, strings.Join(failed, " "), f.stderr)
	}
	if before != after {
		d.wrong("the source on the host has changed")
	}
	return nil
}

// countTests reads what `go test -json` prints.
func countTests(text string) (tests, packages int, failed []string) {
	dec := json.NewDecoder(strings.NewReader(text))
	for {
		var event struct{ Action, Package, Test string }
		if err := dec.Decode(&event); errors.Is(err, io.EOF) {
			return tests, packages, failed
		} else if err != nil {
			return tests, packages, append(failed, "unreadable: "+err.Error())
		}
		switch {
		case event.Action == "fail":
			failed = append(failed, strings.TrimSpace(event.Package+" "+event.Test))
		case event.Action == "pass" && event.Test != "":
			tests++
		case event.Action == "pass":
			packages++
		}
	}
}

// digest is one hash over the names, modes and contents below a directory.
func digest(dir string) (files int, sum string, err error) {
	h := sha256.New()
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %v\n", relative, info.Mode())
		if !info.Mode().IsRegular() {
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(h, bytes.NewReader(text))
		return err
	})
	return files, hex.EncodeToString(h.Sum(nil)), err
}
