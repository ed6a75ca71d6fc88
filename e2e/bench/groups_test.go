package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A row that cannot be measured is printed with its reason, and fails nothing.
func TestGroupsMissing(t *testing.T) {
	program := filepath.Join(t.TempDir(), "group")
	text := "#!/bin/sh\n[ \"$3\" != systemd ] || { echo 'group: the manager hangs' >&2; exit 1; }\necho 1000000\n"
	if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		groups   groups
		measured int
		lacks    []string
	}{
		{"all", groups{ask: "/socket"}, 2, []string{"systemd is not installed"}},
		{"the manager fails", groups{ask: "/socket", manager: "/manager"}, 2, []string{"the manager hangs"}},
		{"none", groups{why: "there are no control groups of version 2"}, 1, []string{"there are no control groups", "there are no control groups"}},
	} {
		if tt.groups.manager == "" {
			tt.groups.whyManager = "systemd is not installed"
		}
		list, lacks := tt.groups.contenders(program)
		if len(list) != tt.measured || len(lacks) != len(tt.lacks) {
			t.Errorf("%s: %d measured, %+v missing", tt.name, len(list), lacks)
			continue
		}
		text := report{lacks: lacks}.text()
		for i, want := range tt.lacks {
			if !strings.Contains(lacks[i].why, want) || !strings.Contains(text, "not on this host: ") || !strings.Contains(text, want) {
				t.Errorf("%s: %+v, printed %s", tt.name, lacks[i], text)
			}
		}
	}
}
