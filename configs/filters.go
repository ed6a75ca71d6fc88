package configs

import "embed"

//go:embed filters/*
var filters embed.FS

// Filter is the compiled system call filter that was shipped for a key of
// seccomp.Key, in the form that seccomp.Compiled reads. Which ones there are was
// decided when brig was built; ok is false for all others.
func Filter(key string) (program []byte, ok bool) {
	b, err := filters.ReadFile("filters/" + key + ".bpf")
	return b, err == nil
}
