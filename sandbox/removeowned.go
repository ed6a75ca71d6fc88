package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/userns"
)

// RemoveOwned removes directories with all that sandboxes with these ids have put
// there, from within a user namespace that has them: what belongs to them, what
// they closed to everybody, and what overlayfs made for nobody. Absolute paths;
// links in them are not followed.
func RemoveOwned(ctx context.Context, ids *plan.IDs, paths ...string) error {
	var tools userns.Tools
	var err error
	if ids.By == plan.ByHelper {
		tools, err = userns.FindTools()
	}
	if err == nil {
		var j *launch.Janitor
		j, err = launch.StartJanitor(&launch.JanitorConfig{IDs: *ids, Paths: paths, WriteMaps: func(pid int) error {
			return writeMaps(ctx, pid, ids, tools)
		}})
		if err == nil {
			return j.Close()
		}
	}
	var p *userns.Problem
	if errors.As(err, &p) {
		return &Error{Code: CodeIDs, Message: SafeText(p.Detail()), Fix: p.Fix, Cause: err}
	}
	return fmt.Errorf("removing what belongs to the sandbox's ids: %w", err)
}
