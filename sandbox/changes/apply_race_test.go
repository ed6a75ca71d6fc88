package changes

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestApplyMeanwhile changes the host's directory between the moment when a
// change is found to be in order and the one when it is put in place.
func TestApplyMeanwhile(t *testing.T) {
	const now = ` was changed on the host at this moment` + "\n"
	for _, tt := range []struct{ name, job, path, script, want string }{
		{"written", "echo job >>a", "a", "echo mine >>a", `conflict: "a"` + now},
		{"written in place, and as long", "echo j >a", "a", "echo m >a", `conflict: "a"` + now},
		{"replaced", "echo job >>a", "a", "echo mine >t; mv t a", `conflict: "a"` + now},
		{"removed", "echo job >>a", "a", "rm a", `conflict: "a"` + now},
		{"made", "echo job >n", "n", "echo mine >n", `conflict: "n"` + now},
		{"a link made", "echo job >n", "n", "ln -s ../outside/kept n", `conflict: "n"` + now},
		{"a file in a directory that goes", "rm -r d; echo job >d", "d", "echo mine >d/sub/mine", `conflict: "d/sub/mine" was made on the host since the job first ran` + "\n"},
		{
			"its directory becomes a link", "echo job >d/sub/n1; echo job >d/sub/n2", "d/sub/n1", "mv d aside; ln -s ../outside d",
			"A d/sub/n1\n" + `conflict: "d/sub/n2" would be in a directory that is not there on the host` + "\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProject(t, lowerScript, tt.job)
			shell(t, p.dir, "mkdir -p outside/sub; echo kept >outside/kept")
			outside := record(t, filepath.Join(p.dir, "outside"))
			before := p.listHost()
			var meant string
			p.meanwhile = func(path string) {
				if path == tt.path {
					shell(t, p.host(), tt.script)
					meant = p.listHost()
				}
			}
			got, err := p.apply(false, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			after := p.listHost()
			if strings.Contains(after, tempPrefix) {
				t.Errorf("left behind:\n%s", after)
			}
			if tt.path != "d/sub/n1" && (meant == before || after != withoutTemp(meant)) {
				t.Errorf("the host has\n%swant\n%s", after, withoutTemp(meant))
			}
			if now := record(t, filepath.Join(p.dir, "outside")); !maps.Equal(now.Names, outside.Names) {
				t.Errorf("outside was touched: %v", now.Names)
			}
		})
	}
}

// withoutTemp leaves a listing's temporary files out, with their content.
func withoutTemp(list string) string {
	var b strings.Builder
	for line := range strings.Lines(list) {
		if !strings.Contains(line, tempPrefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestApplyRaces changes the host's directory all the while: nothing outside it
// is touched, and nothing that others wrote is lost.
func TestApplyRaces(t *testing.T) {
	p := newProject(t, "mkdir d; for i in 1 2 3 4 5 6 7 8; do echo $i >d/$i; done", "for i in 1 2 3 4 5 6 7 8; do echo job >d/$i; echo job >d/n$i; done")
	outside := t.TempDir()
	for i := range 9 {
		if err := os.WriteFile(filepath.Join(outside, fmt.Sprint(i)), []byte("outside"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := record(t, outside)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		d, aside := filepath.Join(p.host(), "d"), filepath.Join(p.host(), "aside")
		for {
			select {
			case <-stop:
				return
			default:
			}
			if os.Rename(d, aside) == nil {
				_ = os.Symlink(outside, d)
				_ = os.Remove(d)
				_ = os.Rename(aside, d)
			}
		}
	})
	for range 200 {
		if _, err := p.apply(false, nil); err != nil && !strings.Contains(err.Error(), "no such file") && !strings.Contains(err.Error(), "link") {
			t.Log(err)
		}
	}
	close(stop)
	wg.Wait()
	if after := record(t, outside); !maps.Equal(before.Names, after.Names) {
		t.Errorf("outside was touched: %v", after.Names)
	}
}
