// Package compiled holds the shipped policies as Go values, so that a run which
// changes nothing of them need not parse any file. They are generated from the
// files, and a test keeps them equal.
package compiled
