// Package configs holds the policies that ship with brig. The seccomp filters
// compiled for them are in configs/filters.
package configs

import "embed"

// FS holds the shipped policies as NAME.toml.
//
//go:embed *.toml
var FS embed.FS
