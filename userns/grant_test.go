package userns

import (
	"errors"
	"testing"
)

func TestMissingGrant(t *testing.T) {
	two := "alice:100000:65536\nbob:165536:65536\n"
	for _, tt := range []struct {
		name  string
		pairs []string
		user  string
		want  Grant
	}{
		{"no files", nil, "alice", Grant{Range{100000, 65536}, true, true}},
		{"nothing missing", []string{"etc/subuid", two, "etc/subgid", two}, "alice", Grant{Range{231072, 65536}, false, false}},
		{"by number", []string{"etc/subuid", "1000:5:5\n", "etc/subgid", two}, "carol", Grant{Range{231072, 65536}, false, true}},
		{"free in both", []string{"etc/subuid", "x:100000:1\n", "etc/subgid", "y:165536:10\n"}, "alice", Grant{Range{165546, 65536}, true, true}},
		{"another source", []string{"etc/nsswitch.conf", "subid: sss\n"}, "alice", Grant{}},
	} {
		got, err := MissingGrant(LookupOptions{UID: 1000, Name: tt.user, FS: host(tt.pairs...)})
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	if _, err := MissingGrant(LookupOptions{UID: 1000, FS: host("etc/subuid", "alice:x:1\n")}); !errors.Is(err, RangeMalformed) {
		t.Errorf("a file with an error: %v", err)
	}
}
