package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
)

// shippedFilter is one row of index.json: which policy a compiled filter is for.
type shippedFilter struct {
	Policy           string `json:"policy"`
	Arch             string `json:"arch"`
	SupervisedMemory bool   `json:"supervised_memory"`
	Key              string `json:"key"`
	Bytes            int    `json:"bytes"`
}

// anyDir stands for the directory that a policy's relative paths count from,
// which no filter depends on. "/" is refused there.
const anyDir = "/project"

// compileShipped compiles the filters of every policy in the folder policies, on
// both architectures and for memory held by the kernel and by brig, into dir.
// Filters in dir that no policy needs any more are removed.
func compileShipped(policies, dir string) error {
	from, err := filepath.Abs(policies)
	if err != nil {
		return fmt.Errorf("finding %s: %w", policies, err)
	}
	shipped := os.DirFS(from)
	names := policy.ShippedNames(shipped)
	if len(names) == 0 {
		return fmt.Errorf("there is no policy (*.toml) in %s", from)
	}
	var index []shippedFilter
	keep := map[string]bool{}
	for _, name := range names {
		p, _, err := policy.Load(policy.LoadOptions{Name: name, Shipped: shipped, Files: os.DirFS("/"), Dir: anyDir})
		if err != nil {
			return fmt.Errorf("policy %s: %w", name, err)
		}
		for _, r := range requests(p) {
			row, err := compileInto(dir, name, r)
			if err != nil {
				return fmt.Errorf("policy %s on %s: %w", name, r.Arch, err)
			}
			index = append(index, row)
			keep[row.Key+".bpf"] = true
		}
	}
	b, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	if err := prune(dir, keep); err != nil {
		return err
	}
	return replace(filepath.Join(dir, "index.json"), append(b, '\n'))
}

// requests are the programs that a policy may need: with memory held by the
// kernel or by brig, and with the CPUs free or bound to some, which the job must
// then not undo. Base "none" needs none.
func requests(p *policy.Policy) []seccomp.Request {
	if p.Seccomp.Base == seccomp.BaseNone {
		return nil
	}
	var out []seccomp.Request
	for _, arch := range []string{seccomp.AMD64, seccomp.ARM64} {
		for _, supervised := range []bool{false, true} {
			o := seccomp.Options{SupervisedMemory: supervised, Caps: p.User.Capabilities}
			bound := p.Seccomp
			bound.Deny = append(slices.Clone(bound.Deny), "sched_setaffinity")
			for _, s := range []seccomp.Settings{p.Seccomp, bound} {
				out = append(out, seccomp.Request{Settings: s, Options: o, Arch: arch})
			}
		}
	}
	return out
}

func compileInto(dir, name string, r seccomp.Request) (shippedFilter, error) {
	program, err := compile(r)
	if err != nil {
		return shippedFilter{}, err
	}
	key := seccomp.Key(r.Settings, r.Options, r.Arch)
	row := shippedFilter{name, r.Arch, r.Options.SupervisedMemory, key, len(program)}
	return row, replace(filepath.Join(dir, key+".bpf"), program)
}

// prune removes compiled filters that are not to be kept.
func prune(dir string, keep map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".bpf") || keep[e.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("removing a filter that no policy needs: %w", err)
		}
	}
	return nil
}

// replace writes a file whole or not at all.
func replace(name string, content []byte) error {
	tmp := name + ".new"
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
