package probe

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
	"github.com/brig-sandbox/brig/userns"
)

func failed(errno unix.Errno, op plan.Op) error {
	return fmt.Errorf("starting: %w", &launch.StepError{Op: op, Errno: errno})
}

func TestSuspect(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want FactName
	}{
		{nil, ""},
		{errors.New("something"), ""},
		{fmt.Errorf("%w: %w", launch.ErrClone, unix.EPERM), UserNS},
		{&userns.Problem{Reason: userns.ToolFailed}, IDMaps},
		{failed(unix.EPERM, plan.Op{Kind: plan.MapIDs}), UserNS},
		{failed(unix.EACCES, plan.Op{Kind: plan.PrivateMounts}), UserNS},
		{failed(unix.EPERM, plan.Op{Kind: plan.Scratch}), UserNS},
		{failed(unix.ENOSPC, plan.Op{Kind: plan.Scratch}), ""},
		{failed(unix.EPERM, plan.Op{Kind: plan.CgroupNamespace}), CgroupNS},
		{failed(unix.ENOSYS, plan.Op{Kind: plan.Open}), MountAttr},
		{failed(unix.ENOENT, plan.Op{Kind: plan.Open}), ""},
		{failed(unix.ESTALE, plan.Op{Kind: plan.Open}), ""},
		{failed(unix.EINVAL, plan.Op{Kind: plan.Overlay}), Overlay},
		{failed(unix.EINVAL, plan.Op{Kind: plan.Root, Flags: plan.InSource}), Overlay},
		{failed(unix.EINVAL, plan.Op{Kind: plan.Root}), UserNS},
		{failed(unix.EPERM, plan.Op{Kind: plan.Proc}), Proc},
		{failed(unix.EINVAL, plan.Op{Kind: plan.Devpts}), Devpts},
		{failed(unix.EPERM, plan.Op{Kind: plan.Loopback}), NetNS},
		{failed(unix.EINVAL, plan.Op{Kind: plan.Seccomp}), Seccomp},
		{failed(unix.EOPNOTSUPP, plan.Op{Kind: plan.Landlock}), Landlock},
		{failed(unix.EACCES, plan.Op{Kind: plan.Exec}), ""},
		{failed(unix.EPERM, plan.Op{Kind: plan.Chdir}), ""},
	} {
		if got := Suspect(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestExplain(t *testing.T) {
	h := &Host{Kernel: ParseRelease("6.12.0")}
	h.presume()
	h.Devpts = Fact{Tried: true, Cause: "found before", Fix: "mend it"}
	for _, tt := range []struct {
		err        error
		cause, fix string
	}{
		{failed(unix.EINVAL, plan.Op{Kind: plan.Devpts}), "found before", "mend it"},
		{
			failed(unix.ENODEV, plan.Op{Kind: plan.Overlay}), "the kernel has no overlayfs, or its module is not loaded",
			"sudo modprobe overlay && echo overlay | sudo tee /etc/modules-load.d/brig.conf",
		},
		{failed(unix.EIO, plan.Op{Kind: plan.Proc}), "mounting a procfs failed: input/output error", lookIntoLog},
		{&userns.Problem{Cause: "newuidmap said no", Fix: "ask again"}, "newuidmap said no", "ask again"},
		{
			fmt.Errorf("%w: %w", launch.ErrClone, unix.EAGAIN), "no further process may be started",
			"end processes of this user, raise ulimit -u, or raise pids.max of the cgroup around brig (--pids-limit of a container, TasksMax= of a unit)",
		},
	} {
		if cause, fix, ok := Explain(tt.err, h); !ok || cause != tt.cause || fix != tt.fix {
			t.Errorf("%v: %v\n%s\n%s", tt.err, ok, cause, fix)
		}
	}
	if cause, fix, ok := Explain(failed(unix.ENOENT, plan.Op{Kind: plan.Exec}), h); ok || cause+fix != "" {
		t.Errorf("a missing program is blamed on the host: %q %q", cause, fix)
	}
}

func TestAgain(t *testing.T) {
	sandboxtest.Need(t, "userns", "overlay", "tmpfs-xattr", "subid", "landlock", "seccomp")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	h, err := Quick(Question{})
	if err != nil {
		t.Fatal(err)
	}
	overlay := failed(unix.EINVAL, plan.Op{Kind: plan.Overlay})
	if again, err := Again(t.Context(), overlay, h, Question{}); again != nil || err != nil {
		t.Errorf("a host that is as it was presumed: %+v, %v", again, err)
	}
	h.Overlay = Fact{}
	if again, err := Again(t.Context(), overlay, h, Question{}); err != nil || again == nil || !again.Overlay.OK {
		t.Errorf("a host that is better than presumed: %+v, %v", again, err)
	}
	if again, err := Again(t.Context(), failed(unix.ENOENT, plan.Op{Kind: plan.Exec}), h, Question{}); again != nil || err != nil {
		t.Errorf("tried for a missing program: %+v, %v", again, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Again(cancelled, overlay, h, Question{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A launch is worth another try where the facts are others than was presumed, or
// where a manager that had no time for it has time again.
func TestPromises(t *testing.T) {
	good, bad := &Host{Scope: Fact{OK: true}}, &Host{}
	busy := fmt.Errorf("%w: no answer in 5s", cgroup.ErrManager)
	other := failed(unix.EINVAL, plan.Op{Kind: plan.Overlay})
	for _, tt := range []struct {
		err      error
		h, tried *Host
		want     bool
	}{
		{busy, good, good, true},
		{busy, good, bad, true},
		{busy, bad, bad, false},
		{other, good, good, false},
		{other, good, bad, true},
	} {
		if got := promises(tt.err, tt.h, tt.tried); got != tt.want {
			t.Errorf("%v, %v, %v: %v", tt.err, tt.h.Scope.OK, tt.tried.Scope.OK, got)
		}
	}
}
