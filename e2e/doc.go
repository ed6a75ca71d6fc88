// Package e2e tests brig as its users meet it: the built program, driven by the
// scripts in testdata/script, on the kernel at hand. It also holds the test of
// the architecture (which package may import what, how long a file may be) and,
// below it, the benchmarks and the demonstration.
//
// Scripts are testscript files. Beyond testscript's own commands they have
// compile, exits, json, listen, need, needflag, payload and unreached; see
// commands_test.go.
package e2e
