package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestStopUnit: the manager's word ends the wait, whether it has stopped the
// unit or knows of none; others' messages do not, and a flood is given up.
func TestStopUnit(t *testing.T) {
	ok := []byte("OK 0123456789abcdef\r\n")
	for name, tt := range map[string]struct {
		socket string
		want   string
	}{
		"stopped":       {listen(t, ok, removed(job, "done"), answer(kindReturn, 1, "", "", "", nil)), ""},
		"unknown":       {listen(t, ok, answer(kindError, 1, "", "org.example.NoSuchUnit", "s", textBody("no"))), ""},
		"others' words": {listen(t, ok, answer(kindReturn, 7, "", "", "", nil)), "timeout"},
		"flood":         {flood(t, ok, removed(job, "done")), fmt.Sprintf("it sent %d signals and no answer", maxSignals)},
	} {
		t.Run(name, func(t *testing.T) {
			wait := 20 * time.Second
			if tt.want == "timeout" {
				wait = 200 * time.Millisecond
			}
			b, err := dial(tt.socket, false, time.Now().Add(wait))
			if err != nil {
				t.Fatal(err)
			}
			defer b.close()
			err = b.stopUnit("brig-1-00000000.scope")
			switch {
			case tt.want == "timeout" && err != nil && !strings.Contains(err.Error(), "signals"):
			case tt.want == "" && err != nil, tt.want != "" && (err == nil || err.Error() != tt.want):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestOwnerLives: only a name whose brig is certainly gone may be swept.
func TestOwnerLives(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		fmt.Sprintf("brig-%d-00000000", os.Getpid()): true,
		"brig-1-00000000": true, // another's, whom one may not signal
		fmt.Sprintf("brig-%d-00000000", dead.Process.Pid): false,
		"brig-99999999999999999999-00000000":              true,
	} {
		if got := ownerLives(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
