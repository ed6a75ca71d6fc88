package main

import (
	"strconv"

	"github.com/brig-sandbox/brig/sandbox"
)

// attack is a hostile program with what shows that it was contained.
type attack struct {
	program string
	// args are the program's; bait fills them in.
	args func(b *bait) []string
	// control says that the program does what it wants when it runs without
	// brig: only then does its failure under brig prove something. Programs
	// that would harm the host have none.
	control bool
	// ends are the outcomes of a contained run. Without any, the program tells
	// by exit code 3 that it was refused everywhere.
	ends []sandbox.Outcome
	// held looks for what the outcome does not tell; it returns evidence, or
	// what is wrong.
	held func(f *finished, b *bait) (evidence, wrong string)
}

// Limits of every hostile program's sandbox.
const (
	hostilePIDs   = 32
	hostileOutput = 1 << 20
)

func hostileFlags() []string {
	return []string{
		"--wall-time", "2s", "--cpu-time", "1s", "--memory", "64MiB", "--pids-limit", strconv.Itoa(hostilePIDs),
		"--output-limit", strconv.Itoa(hostileOutput), "--scratch-size", "32MiB",
	}
}

func attacks() []attack {
	return []attack{
		{program: "fork_bomb", ends: []sandbox.Outcome{sandbox.OutcomeWallLimit, sandbox.OutcomeTimeLimit}, held: forksHeld},
		{program: "memory_hog", ends: []sandbox.Outcome{sandbox.OutcomeMemoryLimit}, held: message},
		{program: "output_flood", ends: []sandbox.Outcome{sandbox.OutcomeOutputLimit}, held: outputHeld},
		{program: "endless_loop", ends: []sandbox.Outcome{sandbox.OutcomeTimeLimit}, held: message},
		{program: "disk_filler"},
		{
			program: "read_secrets", control: true, held: secretKept,
			args: func(b *bait) []string { return []string{b.secret} },
		},
		{
			program: "write_outside", control: true, held: victimKept,
			args: func(b *bait) []string { return []string{b.victim} },
		},
		{program: "inherited_files", control: true, held: inheritedKept},
		{
			program: "kill_host", control: true, held: processKept,
			args: func(b *bait) []string { return []string{strconv.Itoa(b.process.Process.Pid)} },
		},
		{program: "trace_init"},
		{program: "mount_host"},
		{program: "raw_sockets"},
		{
			program: "reach_loopback", control: true, held: unreached,
			args: func(b *bait) []string { return []string{b.port(), b.abstractName()} },
		},
		{program: "kernel_doors"},
		{program: "outlive_job", held: nothingLeft},
	}
}

func message(f *finished, _ *bait) (evidence, wrong string) { return f.Message, "" }

// nothingLeft only says what is checked after every attack.
func nothingLeft(*finished, *bait) (evidence, wrong string) {
	return "no process is left after the sandbox", ""
}

// forksHeld: the bomb met its limit, and no more processes were ever seen.
func forksHeld(f *finished, _ *bait) (evidence, wrong string) {
	peak := f.receipt("pids").Peak
	if peak > hostilePIDs+1 { // init may be counted with the job
		return "", "there were " + strconv.Itoa(int(peak)) + " processes"
	}
	if len(parseTries(f.stdout)) == 0 {
		return "", "no fork was refused"
	}
	seen := "as many as allowed"
	if peak >= 0 {
		seen = strconv.Itoa(int(peak)) + " of " + strconv.Itoa(hostilePIDs)
	}
	return refusals(f.stdout) + "; processes: " + seen + "; " + f.Message, ""
}

// outputHeld: what came before the limit is there, and nothing beyond it.
func outputHeld(f *finished, _ *bait) (evidence, wrong string) {
	n := len(f.stdout) + len(f.stderr)
	if n != hostileOutput {
		return "", strconv.Itoa(n) + " bytes arrived"
	}
	return f.Message + ", " + strconv.Itoa(n) + " bytes kept", ""
}

// policies are those that every attack is tried under: one for a developer's
// own directory, one for strangers' programs.
var policies = []string{"default", "judge"}
