package userns

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

const passwd = "root:x:0:0:root:/root:/bin/sh\n+nis::1000:\n#old:x:1000:1::/:\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n"

// host makes a file system from pairs of name and content.
func host(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{"etc/passwd": {Data: []byte(passwd)}}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func TestLookupSubIDs(t *testing.T) {
	one := "alice:100000:65536\nbob:165536:65536\n"
	for name, tt := range map[string]struct {
		fsys fstest.MapFS
		opts LookupOptions
		want SubIDs
	}{
		"by name":      {host("etc/subuid", one, "etc/subgid", one), LookupOptions{UID: 1000, GID: 1000}, same(Range{100000, 65536})},
		"second line":  {host("etc/subuid", one, "etc/subgid", one), LookupOptions{UID: 1001, GID: 1001}, same(Range{165536, 65536})},
		"by number":    {host("etc/subuid", "1000:200000:5\n", "etc/subgid", "1000:200000:5\n"), LookupOptions{UID: 1000}, same(Range{200000, 5})},
		"name unknown": {host("etc/subuid", "1234:200000:5\n", "etc/subgid", "1234:200000:5\n"), LookupOptions{UID: 1234}, same(Range{200000, 5})},
		"name given":   {host("etc/subuid", "ldap:200000:5\n", "etc/subgid", "ldap:200000:5\n"), LookupOptions{UID: 1234, Name: "ldap"}, same(Range{200000, 5})},
		"several, ordered": {
			host("etc/subuid", "alice:900000:10\nbob:1000000:5\n1000:200000:5\n", "etc/subgid", "alice:7:1\n"),
			LookupOptions{UID: 1000},
			SubIDs{UID: []Range{{900000, 10}, {200000, 5}}, GID: []Range{{7, 1}}},
		},
		"nsswitch says files": {
			host("etc/subuid", one, "etc/subgid", one, "etc/nsswitch.conf", "passwd: files\nsubid: files sss\n"),
			LookupOptions{UID: 1000},
			same(Range{100000, 65536}),
		},
		"no getsubids for the service": {
			host("etc/subuid", one, "etc/subgid", one, "etc/nsswitch.conf", "subid: sss\n"),
			LookupOptions{UID: 1000},
			same(Range{100000, 65536}),
		},
		"others overlap": {
			host("etc/subuid", "bob:1:5\ncarol:5:5\nalice:100:5\n", "etc/subgid", one),
			LookupOptions{UID: 1000},
			SubIDs{UID: []Range{{100, 5}}, GID: []Range{{100000, 65536}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.opts.FS = tt.fsys
			got, err := LookupSubIDs(t.Context(), tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLookupSubIDsRefuses(t *testing.T) {
	one := "bob:100000:65536\n"
	alice := "alice:165536:65536\n"
	for name, tt := range map[string]struct {
		fsys       fstest.MapFS
		uid        uint32
		reason     Reason
		cause, fix string
	}{
		"no entry": {
			host("etc/subuid", one, "etc/subgid", one), 1000,
			NoRange, "alice has no range in /etc/subuid and /etc/subgid",
			"sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 alice",
		},
		"no files": {
			host(), 1000,
			NoRange, "alice has no range in /etc/subuid and /etc/subgid",
			"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice",
		},
		"groups only": {
			host("etc/subgid", alice), 1000,
			NoRange, "alice has no range in /etc/subuid", "sudo usermod --add-subuids 100000-165535 alice",
		},
		"users only": {
			host("etc/subuid", one+alice, "etc/subgid", one), 1000,
			NoRange, "alice has no range in /etc/subgid", "sudo usermod --add-subgids 231072-296607 alice",
		},
		"nobody": {
			host(), 4242,
			UnknownUser, "uid 4242 has no login name, and subordinate ids belong to names",
			"run brig as a user that has an account, add one for uid 4242 to /etc/passwd, or use the single mapping",
		},
		"directory service": {
			host("etc/nsswitch.conf", "# subid: files\nSubid:\tsss\n"), 1000,
			NoRange, `alice has no subordinate ids in "sss", the source that /etc/nsswitch.conf names for subid`,
			`ask whoever runs "sss" for a range of 65536 ids for alice, or remove the subid line from /etc/nsswitch.conf and use /etc/subuid`,
		},
		"malformed, of somebody else": {
			host("etc/subuid", alice+"bob:x:1\n", "etc/subgid", alice), 1000,
			RangeMalformed, `/etc/subuid:2: "bob:x:1": the start is not a plain decimal number`, "",
		},
		"own ranges overlap": {
			host("etc/subuid", alice+"1000:165536:65536\n", "etc/subgid", alice), 1000,
			RangeOverlap, `/etc/subuid:2: the range 165536-231071 of "1000" overlaps 165536-231071 of "alice" on line 1`, "",
		},
		"overlaps another user": {
			host("etc/subuid", alice, "etc/subgid", "bob:100000:65537\n"+alice), 1000,
			RangeOverlap, `/etc/subgid:2: the range 165536-231071 of "alice" overlaps 100000-165536 of "bob" on line 1`, "",
		},
		"contains root": {
			host("etc/subuid", "alice:0:1000\n", "etc/subgid", alice), 1000,
			RangeForbidden, "/etc/subuid: the range 0-999 contains uid 0, which is root", "",
		},
		"contains the caller": {
			host("etc/subuid", alice, "etc/subgid", "alice:500:1000\n"), 1000,
			RangeForbidden, "/etc/subgid: the range 500-1499 contains the caller's own gid 1000", "",
		},
		"too large": {
			host("etc/subuid", strings.Repeat("#", maxSubIDFile+1)), 1000,
			FileUnreadable, "reading /etc/subuid", "make /etc/subuid a file that everybody may read (chmod a+r), smaller than 4194304 bytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LookupSubIDs(t.Context(), LookupOptions{UID: tt.uid, GID: tt.uid, FS: tt.fsys})
			p := theProblem(t, err, tt.reason, tt.cause)
			if tt.fix != "" && p.Fix != tt.fix {
				t.Errorf("fix is\n\t%s\nwant\n\t%s", p.Fix, tt.fix)
			}
			if got.UID != nil || got.GID != nil {
				t.Errorf("ranges %v beside an error", got)
			}
		})
	}
}

// script writes an executable shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil { //nolint:gosec // it must be executable
		t.Fatal(err)
	}
	return path
}

const getsubids = `case "$*" in
"-g "*) echo "0: $2 300000 1000"; echo "1: $2 500000 64536" ;;
*) echo "0: $1 200000 65536" ;;
esac`

func TestLookupSubIDsAsksTheShadowTools(t *testing.T) {
	want := SubIDs{UID: []Range{{200000, 65536}}, GID: []Range{{300000, 1000}, {500000, 64536}}}
	tool := script(t, getsubids)
	onlyCarol := script(t, `[ "${1#-g}$2" = carol ] || exit 1`+"\n"+getsubids)
	getent := script(t, `[ "$1 $2" = "passwd 1234" ] && echo "carol:*:1234:1234:Carol:/home/carol:/bin/sh"`)
	files := "alice:100000:65536\n"
	for name, tt := range map[string]struct {
		opts LookupOptions
		want SubIDs
	}{
		"no entry in the files":   {LookupOptions{UID: 1000, FS: host(), Getsubids: tool}, want},
		"another source first":    {LookupOptions{UID: 1000, FS: host("etc/subuid", files, "etc/subgid", files, "etc/nsswitch.conf", "subid: sss"), Getsubids: tool}, want},
		"files come first":        {LookupOptions{UID: 1000, FS: host("etc/subuid", files, "etc/subgid", files), Getsubids: tool}, same(Range{100000, 65536})},
		"name from the directory": {LookupOptions{UID: 1234, FS: host(), Getsubids: onlyCarol, Getent: getent}, want},
		"name from the directory, range in the files": {
			LookupOptions{UID: 1234, FS: host("etc/subuid", "carol:7:1\n", "etc/subgid", "carol:8:1\n"), Getsubids: tool, Getent: getent},
			SubIDs{UID: []Range{{7, 1}}, GID: []Range{{8, 1}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LookupSubIDs(t.Context(), tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestGetsubidsFails(t *testing.T) {
	for text, tt := range map[string]struct {
		reason Reason
		cause  string // TOOL stands for the path
		err    string
	}{
		"echo Error fetching ranges >&2; exit 1":  {NoRange, "alice has no range in /etc/subuid and /etc/subgid", `getsubids says "Error fetching ranges"`},
		"exit 0":                                  {NoRange, "alice has no range in /etc/subuid and /etc/subgid", ""},
		"echo 0: alice 100000":                    {RangeMalformed, `output of TOOL, line 1: "0: alice 100000": not four fields`, ""},
		"echo 0: alice 1 0":                       {RangeMalformed, `output of TOOL, line 1: "0: alice 1 0": the count is 0`, ""},
		"echo 0: alice 0 9":                       {RangeForbidden, "TOOL: the range 0-8 contains uid 0, which is root", ""},
		"echo 0: alice 5 5; echo 1: alice 9 5":    {RangeOverlap, `output of TOOL:2: the range 9-13 of "alice" overlaps 5-9 of "alice" on line 1`, ""},
		"yes 0: alice 5 5 | head -c 200000; true": {RangeMalformed, "", ""}, // cut off at the cap, in the middle of a line
	} {
		tool := script(t, text)
		_, err := LookupSubIDs(t.Context(), LookupOptions{UID: 1000, GID: 1000, FS: host(), Getsubids: tool})
		var p *Problem
		if !errors.As(err, &p) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if tt.cause == "" {
			if !errors.Is(err, RangeMalformed) && !errors.Is(err, RangeOverlap) {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		wantProblem(t, err, tt.reason, strings.ReplaceAll(tt.cause, "TOOL", tool))
		if tt.err != "" && (p.Err == nil || p.Err.Error() != tt.err) {
			t.Errorf("%s: error underneath is %v, want %s", text, p.Err, tt.err)
		}
	}
}

func TestGetsubidsIsStopped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := LookupSubIDs(ctx, LookupOptions{UID: 1000, FS: host(), Getsubids: script(t, "exec sleep 60")})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

// The host's own answer must be the one that its getsubids gives.
func TestLookupSubIDsOnThisHost(t *testing.T) {
	user := needSubIDUser(t)
	tool := findTool("getsubids")
	if tool == "" {
		sandboxtest.Lacks(t, "getsubids", errors.New("not installed"))
	}
	fromFiles, err := LookupSubIDs(t.Context(), LookupOptions{UID: user.uid, GID: user.gid})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := LookupSubIDs(t.Context(), LookupOptions{UID: user.uid, GID: user.gid, Name: user.name, FS: host(), Getsubids: tool})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(asked, fromFiles); d != "" {
		t.Errorf("getsubids says otherwise: %s", d)
	}
}

func BenchmarkLookupSubIDs(b *testing.B) {
	uid := uint32(os.Getuid())
	if uid == 0 {
		uid = needSubIDUser(b).uid
	}
	for b.Loop() {
		if _, err := LookupSubIDs(context.Background(), LookupOptions{UID: uid}); err != nil {
			b.Fatal(err)
		}
	}
}
