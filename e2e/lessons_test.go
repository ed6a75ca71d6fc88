package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lessons says, for each fault of other runtimes that brig learns from, what a
// script must name to count as its regression test, and which script that is.
// Those without one say why they cannot occur yet.
var lessons = []struct{ fault, script, notYet string }{
	{"CVE-2019-5736", "lesson-01-own-program", ""},
	{"CVE-2024-21626", "lesson-02-working-directory", ""},
	{"CVE-2025-31133", "lesson-03-masked-files", ""},
	{"CVE-2025-52565", "", "there is no /dev/console; the targets of devices are lesson-06-hostile-dev"},
	{"CVE-2025-52881", "lesson-05-sysctls", ""},
	{"CVE-2026-41579", "lesson-06-hostile-dev", ""},
	{"CVE-2021-30465", "lesson-07-symlink-exchange", ""},
	{"CVE-2024-45310", "lesson-08-links-in-the-root", ""},
	{"CVE-2023-25809", "lesson-09-cgroups", ""},
	{"CVE-2023-28642", "lesson-10-proc", ""},
	{"CVE-2022-29162", "lesson-11-capabilities", ""},
	{"CVE-2021-43784", "lesson-12-long-lists", ""},
	{"CVE-2026-30892", "lesson-13-user", ""},
	{"CVE-2016-9962", "lesson-14-entering-process", ""},
	{"CVE-2025-24965", "lesson-08-links-in-the-root", ""},
	{"CVE-2024-1753", "lesson-07-symlink-exchange", ""},
	{"CVE-2017-5226", "lesson-17-terminal", ""},
	{"CVE-2020-5291", "lesson-18-set-uid", ""},
	{"CVE-2024-42472", "lesson-07-symlink-exchange", ""},
	{"nsjail", "lesson-20-targets", ""},
	{"isolate", "lesson-21-own-shared-memory", ""},
	{"CVE-2024-28185", "lesson-22-results-and-links", ""},
	{"CVE-2022-31214", "lesson-18-set-uid", ""},
	{"CVE-2021-26910", "", "nothing joins a running sandbox, and no state names one"},
	{"CVE-2022-0185", "lesson-24-user-namespaces", ""},
	{"CVE-2021-3493", "lesson-18-set-uid", ""},
	{"CVE-2020-15257", "lesson-26-sockets", ""},
}

// TestLessons finds each lesson's script, and no script that teaches nothing.
func TestLessons(t *testing.T) {
	used := map[string]bool{}
	for _, lesson := range lessons {
		if lesson.script == "" {
			if lesson.notYet == "" {
				t.Errorf("%s has neither a script nor a reason", lesson.fault)
			}
			continue
		}
		used[lesson.script] = true
		data, err := os.ReadFile(filepath.Join("testdata", "script", lesson.script+".txtar"))
		if err != nil {
			t.Error(err)
			continue
		}
		if comment, _, _ := strings.Cut(string(data), "\n\n"); !strings.Contains(comment, lesson.fault) {
			t.Errorf("%s does not name %s", lesson.script, lesson.fault)
		}
	}
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "lesson-*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		if name := strings.TrimSuffix(filepath.Base(script), ".txtar"); !used[name] {
			t.Errorf("%s is no lesson's", name)
		}
	}
}
