package sandboxtest

import (
	"os/user"
	"sync"
)

// TestUser is the ordinary user as whom root runs the tests; e2e/as-user.sh
// makes it.
const TestUser = "brigtest"

// testUser is its uid as text, empty where it does not exist.
var testUser = sync.OnceValue(func() string {
	u, err := user.Lookup(TestUser)
	if err != nil {
		return ""
	}
	return u.Uid
})
