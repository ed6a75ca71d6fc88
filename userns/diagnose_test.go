package userns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

var identity = Map{{0, 0, 1<<32 - 1}}

// debian12 are the facts of an ordinary user of a machine where all works.
func debian12(change func(*Facts)) Facts {
	f := Facts{
		Step: StepClone, Errno: syscall.EPERM,
		MaxUserNamespaces: 31000, UnprivilegedClone: 1, AppArmorRestrict: Absent,
		HasUserNS: true, Label: "unconfined", UID: 1000, GID: 1000,
		UIDMap: identity, GIDMap: identity, Executable: "/usr/bin/brig",
	}
	change(&f)
	return f
}

func ubuntu2404(change func(*Facts)) Facts {
	return debian12(func(f *Facts) {
		f.AppArmorRestrict = 1
		change(f)
	})
}

func fedora(change func(*Facts)) Facts {
	return debian12(func(f *Facts) {
		f.UnprivilegedClone, f.SELinuxEnforcing = Absent, true
		f.Label = "staff_u:staff_r:staff_t:s0"
		f.Errno = syscall.EACCES
		change(f)
	})
}

func TestDiagnose(t *testing.T) {
	for name, tt := range map[string]struct {
		facts  Facts
		reason Reason
		cause  string
	}{
		"no kernel support": {
			debian12(func(f *Facts) { f.HasUserNS, f.Errno, f.UIDMap, f.GIDMap = false, syscall.EINVAL, nil, nil }),
			NoKernelSupport, "the kernel is built without user namespaces",
		},
		"max_user_namespaces=0": {
			debian12(func(f *Facts) { f.MaxUserNamespaces, f.Errno = 0, syscall.ENOSPC }),
			MaxUserNamespacesZero, "user namespaces are switched off by the sysctl user.max_user_namespaces=0",
		},
		"max_user_namespaces=0, old kernel": {
			debian12(func(f *Facts) { f.MaxUserNamespaces, f.Errno = 0, syscall.EUSERS }),
			MaxUserNamespacesZero, "user namespaces are switched off by the sysctl user.max_user_namespaces=0",
		},
		"limit used up": {
			debian12(func(f *Facts) { f.Errno = syscall.ENOSPC }),
			NamespaceLimit, "this user has as many user namespaces as user.max_user_namespaces=31000 allows",
		},
		"nested too deep": {
			debian12(func(f *Facts) { f.Errno, f.UIDMap = syscall.ENOSPC, Map{{0, 1000, 1}} }),
			NestingDepth, "brig runs in a nested user namespace, and either this is the deepest level (33) or user.max_user_namespaces of an outer one is used up",
		},
		"process limit":     {debian12(func(f *Facts) { f.Errno = syscall.EAGAIN }), ProcessLimit, "no further process may be started"},
		"out of memory":     {debian12(func(f *Facts) { f.Errno = syscall.ENOMEM }), OutOfMemory, "the kernel has no memory for a user namespace"},
		"Debian's sysctl":   {debian12(func(f *Facts) { f.UnprivilegedClone = 0 }), UnprivilegedOff, "user namespaces are kept from ordinary users by the sysctl kernel.unprivileged_userns_clone=0"},
		"the sysctl, root":  {debian12(func(f *Facts) { f.UnprivilegedClone, f.SysAdmin, f.Seccomp = 0, true, 2 }), OuterSeccomp, problemSeccomp().Cause},
		"chroot":            {debian12(func(f *Facts) { f.Chrooted, f.Seccomp = true, 2 }), Chrooted, "brig runs in a chroot, where the kernel allows no user namespace"},
		"uid not mapped":    {debian12(func(f *Facts) { f.UIDMap, f.UID = Map{{0, 1, 1}}, 65534 }), CallerUnmapped, "the caller's uid (shown as 65534) does not exist in its own user namespace"},
		"gid not mapped":    {debian12(func(f *Facts) { f.GIDMap, f.GID = Map{{0, 1, 1}}, 65534 }), CallerUnmapped, "the caller's gid (shown as 65534) does not exist in its own user namespace"},
		"maps not written":  {debian12(func(f *Facts) { f.UIDMap, f.UID = nil, 65534 }), CallerUnmapped, "the caller's uid (shown as 65534) does not exist in its own user namespace"},
		"inside Docker":     {debian12(func(f *Facts) { f.Seccomp, f.Label, f.UID, f.GID = 2, "docker-default (enforce)", 0, 0 }), OuterSeccomp, problemSeccomp().Cause},
		"Docker on Ubuntu":  {ubuntu2404(func(f *Facts) { f.Seccomp, f.Label = 2, "docker-default (enforce)" }), OuterSeccomp, problemSeccomp().Cause},
		"Docker on Fedora":  {fedora(func(f *Facts) { f.Seccomp, f.Errno = 2, syscall.EPERM }), OuterSeccomp, problemSeccomp().Cause},
		"filter: ENOSYS":    {debian12(func(f *Facts) { f.Seccomp, f.Errno = 2, syscall.ENOSYS }), OuterSeccomp, problemSeccomp().Cause},
		"filter: mount":     {debian12(func(f *Facts) { f.Seccomp, f.Step = 2, StepUse }), OuterSeccomp, problemSeccomp().Cause},
		"Ubuntu, denied":    {ubuntu2404(func(f *Facts) { f.Errno = syscall.EACCES }), AppArmorRestricts, problemAppArmor("").Cause},
		"Ubuntu, maps":      {ubuntu2404(func(f *Facts) { f.Step = StepMap }), AppArmorRestricts, problemAppArmor("").Cause},
		"Ubuntu, mount":     {ubuntu2404(func(f *Facts) { f.Step, f.Errno = StepUse, syscall.EACCES }), AppArmorRestricts, problemAppArmor("").Cause},
		"Ubuntu, filtered":  {ubuntu2404(func(f *Facts) { f.Step, f.Seccomp = StepMap, 2 }), AppArmorRestricts, problemAppArmor("").Cause},
		"Ubuntu, nested":    {ubuntu2404(func(f *Facts) { f.Step, f.Label = StepUse, "unprivileged_userns (enforce)" }), AppArmorRestricts, problemAppArmor("").Cause},
		"Ubuntu, allowed":   {ubuntu2404(func(f *Facts) { f.Label = "brig (unconfined)" }), AppArmorProfile, `the AppArmor profile "brig (unconfined)" that brig runs under does not allow user namespaces`},
		"Ubuntu, off":       {ubuntu2404(func(f *Facts) { f.AppArmorRestrict = 0 }), Unexplained, "creating a user namespace failed for a reason that no setting shows"},
		"AppArmor profile":  {ubuntu2404(func(f *Facts) { f.Errno, f.Label = syscall.EACCES, "snap.x (enforce)" }), AppArmorProfile, `the AppArmor profile "snap.x (enforce)" that brig runs under does not allow user namespaces`},
		"SELinux":           {fedora(func(*Facts) {}), SELinuxDenies, "SELinux does not let staff_t create user namespaces"},
		"SELinux, no label": {fedora(func(f *Facts) { f.Label = "" }), SELinuxDenies, "SELinux does not let the caller's domain create user namespaces"},
		"permissive":        {fedora(func(f *Facts) { f.SELinuxEnforcing = false }), Unexplained, "creating a user namespace failed for a reason that no setting shows"},
		"nothing to see":    {debian12(func(*Facts) {}), Unexplained, "creating a user namespace failed for a reason that no setting shows"},
		"strange errno":     {debian12(func(f *Facts) { f.Errno, f.Step = syscall.EIO, StepMap }), Unexplained, "writing its id maps failed for a reason that no setting shows"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Diagnose(tt.facts)
			if p == nil {
				t.Fatal("no problem seen")
			}
			wantProblem(t, p, tt.reason, tt.cause)
			if !errors.Is(p, tt.facts.Errno) {
				t.Errorf("the errno %v is lost: %v", tt.facts.Errno, p)
			}
		})
	}
	if p := Diagnose(debian12(func(f *Facts) { f.Errno = 0; f.MaxUserNamespaces = 0 })); p != nil {
		t.Errorf("a success is diagnosed as %v", p)
	}
}

func TestDiagnoseFixes(t *testing.T) {
	for _, tt := range []struct {
		facts Facts
		fix   string
	}{
		{
			debian12(func(f *Facts) { f.MaxUserNamespaces, f.Errno = 0, syscall.ENOSPC }),
			"echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/90-brig.conf && sudo sysctl -p /etc/sysctl.d/90-brig.conf",
		},
		{
			debian12(func(f *Facts) { f.MaxUserNamespaces, f.Errno = 10000, syscall.ENOSPC }),
			"end programs that hold some (lsns -t user), or echo user.max_user_namespaces=20000 | sudo tee /etc/sysctl.d/90-brig.conf && sudo sysctl -p /etc/sysctl.d/90-brig.conf",
		},
		{
			debian12(func(f *Facts) { f.UnprivilegedClone = 0 }),
			"echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/90-brig.conf && sudo sysctl -p /etc/sysctl.d/90-brig.conf",
		},
		{
			ubuntu2404(func(f *Facts) { f.Executable = "/opt/my tools/brig{1}" }),
			`give brig a profile:
sudo tee /etc/apparmor.d/brig >/dev/null <<'EOF' && sudo apparmor_parser -r /etc/apparmor.d/brig
abi <abi/4.0>,
include <tunables/global>

profile brig "/opt/my tools/brig\{1\}" flags=(unconfined) {
  userns,

  include if exists <local/brig>
}
EOF
or switch the restriction off for every program: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`,
		},
	} {
		if got := Diagnose(tt.facts).Fix; got != tt.fix {
			t.Errorf("fix is\n%s\nwant\n%s", got, tt.fix)
		}
	}
}

const status = `Name:	brig
Uid:	1000	1001	1000	1000
Gid:	100	101	100	100
CapEff:	%016x
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
`

func TestReadFacts(t *testing.T) {
	const all = "         0          0 4294967295\n"
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	fsys := fstest.MapFS{
		"proc/sys/user/max_user_namespaces":                     file("62000\n"),
		"proc/sys/kernel/unprivileged_userns_clone":             file("0\n"),
		"proc/sys/kernel/apparmor_restrict_unprivileged_userns": file("1\n"),
		"sys/fs/selinux/enforce":                                file("1"),
		"proc/self/attr/current":                                file("docker-default (enforce)\n"),
		"proc/self/status":                                      file(fmt.Sprintf(status, 1<<21)),
		"proc/self/uid_map":                                     file(all),
		"proc/self/gid_map":                                     file("0 5 1\n"),
		"proc/self/mountinfo":                                   file("63 43 254:0 /usr /usr rw - ext4 /dev/vda rw\n64 43 0:39 / /proc rw - proc proc rw\n"),
	}
	got, err := ReadFacts(fsys)
	if err != nil {
		t.Fatal(err)
	}
	want := Facts{
		MaxUserNamespaces: 62000, UnprivilegedClone: 0, AppArmorRestrict: 1,
		HasUserNS: true, SELinuxEnforcing: true, Label: "docker-default (enforce)",
		Seccomp: 2, NoNewPrivs: true, SysAdmin: true, UID: 1001, GID: 101,
		UIDMap: identity, GIDMap: Map{{0, 5, 1}}, Chrooted: true,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}

	bare := fstest.MapFS{
		"proc/self/status":                file(fmt.Sprintf(status, 0)),
		"proc/self/mountinfo":             file("27 1 254:0 / / rw - ext4 /dev/vda rw\n"),
		"proc/self/attr/current":          file("plain"),
		"proc/self/attr/apparmor/current": file("unconfined\n"),
	}
	if got, err = ReadFacts(bare); err != nil {
		t.Fatal(err)
	}
	want = Facts{
		MaxUserNamespaces: Absent, UnprivilegedClone: Absent, AppArmorRestrict: Absent,
		Label: "unconfined", Seccomp: 2, NoNewPrivs: true, UID: 1001, GID: 101,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}

	bare["proc/sys/user/max_user_namespaces"] = file("many\n")
	_, err = ReadFacts(bare)
	wantProblem(t, err, FileUnreadable, "reading /proc/sys/user/max_user_namespaces")
}

func TestReadFactsOfThisHost(t *testing.T) {
	f, err := ReadFacts(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !f.HasUserNS || len(f.UIDMap) == 0 || f.MaxUserNamespaces < 0 || f.Executable == "" {
		t.Errorf("%+v", f)
	}
	if int(f.UID) != os.Geteuid() || int(f.GID) != os.Getegid() {
		t.Errorf("ids %d:%d", f.UID, f.GID)
	}
	if f.SysAdmin && os.Geteuid() != 0 {
		t.Error("an ordinary user has CAP_SYS_ADMIN")
	}
}

// The kernel itself, with the sysctl set to 0 inside a user namespace.
func TestSysctlZeroIsDiagnosed(t *testing.T) {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		sandboxtest.Lacks(t, "unshare", err)
	}
	// The sysctl belongs to the namespace, so the host's stays as it is.
	out, err := exec.Command(unshare, "-Ur", "sh", "-c",
		`echo 0 > /proc/sys/user/max_user_namespaces || exit 9; cat /proc/sys/user/max_user_namespaces /proc/self/uid_map; `+unshare+` -U true`).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() == 9 || !strings.Contains(string(out), "No space left") {
		sandboxtest.Lacks(t, "userns", errors.Join(fmt.Errorf("a user namespace without room for another: %s", out), err))
	}
	lines := strings.Split(string(out), "\n")
	m, err := ParseMap(lines[1])
	if err != nil || lines[0] != "0" {
		t.Fatalf("%v: %s", err, out)
	}
	p := Diagnose(Facts{Step: StepClone, Errno: syscall.ENOSPC, HasUserNS: true, MaxUserNamespaces: 0, UIDMap: m, GIDMap: m})
	wantProblem(t, p, MaxUserNamespacesZero, "user namespaces are switched off by the sysctl user.max_user_namespaces=0")
}

// The kernel itself: what keeps newuidmap from working is seen beforehand.
func TestNoNewPrivsIsDiagnosed(t *testing.T) {
	if os.Getenv("BRIG_TEST_FINDTOOLS") != "" {
		_, err := FindTools()
		fmt.Println("found:", err)
		return
	}
	needTools(t)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		sandboxtest.Lacks(t, "setpriv", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(flag, want string) {
		t.Helper()
		cmd := exec.Command(setpriv, flag, self, "-test.run=^TestNoNewPrivsIsDiagnosed$")
		cmd.Env = append(os.Environ(), "BRIG_TEST_FINDTOOLS=1")
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("with %s: %s", flag, out)
		}
	}
	run("--no-new-privs", "found: no_new_privs is set on this process")
	if os.Geteuid() == 0 {
		run("--bounding-set=-setgid", "found: cap_setgid is missing in this process's bounding set")
	}
}
