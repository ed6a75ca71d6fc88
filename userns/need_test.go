package userns

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

type account struct {
	name     string
	uid, gid uint32
}

// needSubIDUser returns the caller if it has subordinate ids, else, for root,
// the first ordinary user that has.
func needSubIDUser(t testing.TB) account {
	t.Helper()
	uid := os.Getuid()
	data, err := os.ReadFile("/etc/subuid")
	if err != nil {
		sandboxtest.Lacks(t, "subid", err)
	}
	entries, err := ParseSubIDs("/etc/subuid", data)
	if err != nil {
		sandboxtest.Lacks(t, "subid", err)
	}
	for _, e := range entries {
		u, err := user.Lookup(e.Owner)
		if err != nil {
			if u, err = user.LookupId(e.Owner); err != nil {
				continue
			}
		}
		if u.Uid != "0" && (uid == 0 || u.Uid == strconv.Itoa(uid)) {
			return account{u.Username, number32(t, u.Uid), number32(t, u.Gid)}
		}
	}
	sandboxtest.Lacks(t, "subid", fmt.Errorf("no user of /etc/subuid can be used by uid %d", uid))
	return account{}
}

func number32(t testing.TB, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}
