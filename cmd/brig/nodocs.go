//go:build !docs

package main

// docsCommands is empty in brig itself; see docs.go.
func docsCommands() []subcommand { return nil }
