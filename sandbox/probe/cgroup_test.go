package probe

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestIsUnit(t *testing.T) {
	for name, want := range map[string]bool{
		"ssh.service": true, "session-1.scope": true, "user.slice": true, "dbus.socket": true,
		"callers": false, "init": false, "brig-1-2": false, "": false, "/": false, "service": false,
	} {
		if got := isUnit(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// Another user's directory of sockets is of no use, wherever the variable came
// from.
func TestRuntimeDir(t *testing.T) {
	uid := uint32(os.Getuid())
	usual := "/run/user/" + strconv.Itoa(os.Getuid())
	own := t.TempDir()
	for _, tt := range []struct{ value, want string }{
		{"", usual}, {"relative", usual}, {own + "/absent", usual}, {"/etc/passwd", usual}, {own + "/", own},
	} {
		t.Setenv("XDG_RUNTIME_DIR", tt.value)
		if got := runtimeDir(uid); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.value, got, tt.want)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", own)
	if got := runtimeDir(uid + 1); got == own {
		t.Errorf("the directory of user %d is taken for that of %d", uid, uid+1)
	}
}

// A launch and the doctor find the same of what a group is made with.
func TestQuickCgroups(t *testing.T) {
	uid := uint32(os.Getuid())
	quick, whole := quickCgroups(uid), ReadCgroups(uid)
	if quick == nil {
		if whole.Parent != "" || whole.Manager != "" || DividesOwnGroup() {
			t.Errorf("nothing was found for a launch, and for the doctor %+v", whole)
		}
		return
	}
	if quick.Parent != whole.Parent || quick.Certain != whole.Certain || quick.Occupied != whole.Occupied ||
		quick.Manager != whole.Manager || quick.Socket != whole.Socket || quick.NoSwapLimit != whole.NoSwapLimit ||
		strings.Join(quick.ManagerControllers, " ") != strings.Join(whole.ManagerControllers, " ") {
		t.Errorf("for a launch %+v, for the doctor %+v", quick, whole)
	}
	if DividesOwnGroup() != quick.Certain {
		t.Errorf("certain: %v", quick.Certain)
	}
}

// Nothing is presumed of a host without a manager, and its socket is believed.
func TestPresumeScope(t *testing.T) {
	h := &Host{}
	if f := h.presumeScope(); f.OK || f.Cause == "" || f.Fix == "" {
		t.Errorf("%+v", f)
	}
	h.Cgroups = &Cgroups{Manager: "user"}
	if f := h.presumeScope(); f != (Fact{OK: true}) {
		t.Errorf("%+v", f)
	}
}
