package main

import (
	"strings"
	"testing"
)

func TestSuggestFlag(t *testing.T) {
	for args, want := range map[string]string{
		"run --pids 5 -- true":                   "unknown flag: --pids\n  fix: did you mean --pids-limit?",
		"run --memroy 5m -- true":                "unknown flag: --memroy\n  fix: did you mean --memory?",
		"run --cpuset 0 -- true":                 "unknown flag: --cpuset\n  fix: did you mean --cpuset-cpus or --cpuset-mems?",
		"run --stats-file=x -- true":             "unknown flag: --stats-file\n  fix: did you mean --stats?",
		"run --no-such-flag -- true":             "unknown flag: --no-such-flag",
		"run --debug-stop -- true":               "unknown flag: --debug-stop", // hidden
		"run --de -- true":                       "unknown flag: --de",
		"run -Z -- true":                         "unknown shorthand flag: 'Z' in -Z",
		"run --blkio-weight 1 -- true":           "--blkio-weight is not accepted: ",
		"doctor --fix-scrip":                     "unknown flag: --fix-scrip\n  fix: did you mean --fix-script?",
		"--versoin":                              "unknown flag: --versoin\n  fix: did you mean --version?",
		"run --" + strings.Repeat("cpus", 1<<16): "unknown flag: --" + strings.Repeat("cpus", 1<<16),
	} {
		cmd := newRootCommand(strings.Fields(args))
		cmd.SetArgs(strings.Fields(args))
		err := cmd.Execute()
		if err == nil || err.Error() != want && (!strings.HasSuffix(want, ": ") || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("brig %.60s: got %.200v, want %.200s", args, err, want)
		}
	}
}
