package sandbox_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

var update = flag.Bool("update", false, "write the golden plans anew")

const (
	recordedHosts = "testdata/hosts"
	goldenPlans   = "testdata/plans"
	projectDir    = "/home/alice/project"
)

// recorded reads the facts of a recorded host.
func recorded(t testing.TB, name string) *probe.Host {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordedHosts, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := probe.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !h.TmpfsXattr.OK {
		h.Upper = "/home/alice/.cache/brig/upper/1" // made for the run, where the job's changes lie
	}
	return h
}

// shipped loads a shipped policy as the recorded user in a project would.
func shipped(t testing.TB, name string) *policy.Policy {
	t.Helper()
	p, _, err := policy.Load(policy.LoadOptions{Name: name, Shipped: configs.FS, Dir: projectDir, HomeDir: "/home/alice"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// specOf is a job under a policy in the recorded project. Nothing in it comes
// from the machine that runs the test.
func specOf(p *policy.Policy, args ...string) *sandbox.Spec {
	none := func(string) (string, bool) { return "", false }
	return &sandbox.Spec{
		Policy: p, Args: args, Env: sandbox.Environment(p, none), Dir: projectDir, Hostname: sandbox.DefaultHostname,
	}
}

func shippedNames(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(configs.FS, "*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no shipped policy: %v", err)
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ".toml")
	}
	return files
}

// Every shipped policy on every recorded host gives the recorded plan, or the
// recorded refusal. Run with -update to write them anew, then read the
// difference: it is what the change does.
func TestGoldenPlans(t *testing.T) {
	hosts, err := filepath.Glob(filepath.Join(recordedHosts, "*.json"))
	if err != nil || len(hosts) == 0 {
		t.Fatalf("no recorded host: %v", err)
	}
	want := map[string]bool{}
	for _, host := range hosts {
		host = strings.TrimSuffix(filepath.Base(host), ".json")
		for _, name := range shippedNames(t) {
			golden := filepath.Join(goldenPlans, name+"@"+host+".plan")
			want[golden] = true
			t.Run(name+"@"+host, func(t *testing.T) {
				command := []string{"make", "test"}
				if name == "judge" {
					command = []string{"./a.out"}
				}
				compareGolden(t, golden, resolved(t, specOf(shipped(t, name), command...), recorded(t, host)))
			})
		}
	}
	have, err := filepath.Glob(filepath.Join(goldenPlans, "*.plan"))
	if err != nil {
		t.Fatal(err)
	}
	for _, golden := range have {
		if !want[golden] {
			t.Errorf("%s is of no policy or no host: remove it", golden)
		}
	}
}

// What a child is told to begin with is how the plan begins, whatever the policy
// and the host are; and the default policy's is told on every host without
// control groups, for that is what makes it start fast.
func TestBeginnings(t *testing.T) {
	hosts, err := filepath.Glob(filepath.Join(recordedHosts, "*.json"))
	if err != nil || len(hosts) == 0 {
		t.Fatalf("no recorded host: %v", err)
	}
	told := 0
	for _, host := range hosts {
		host = strings.TrimSuffix(filepath.Base(host), ".json")
		for _, name := range shippedNames(t) {
			for _, layers := range []int{0, 2} {
				h, spec := recorded(t, host), specOf(shipped(t, name), "./a.out")
				if layers > 0 {
					spec.LayerMap = policy.MapSingle
					layer(spec, h, layers)
				}
				var b *launch.Beginning
				res, err := sandbox.ResolveWith(spec, h, func(got *launch.Beginning) { b = got })
				if err != nil {
					continue
				}
				grouped := res.Plan.Find(plan.Cgroup) != nil
				switch {
				case b == nil && layers == 0 && name == "default" && !grouped && h.UID != 0 && (h.Cgroups == nil || h.Cgroups.Layout != "v2"):
					t.Errorf("%s on %s: the child is told nothing", name, host)
				case b != nil && !b.Fits(res.Plan):
					t.Errorf("%s on %s, %d layers: the child is told\n%v\nthe plan is\n%s", name, host, layers, b, res.Plan)
				case b != nil:
					told++
				}
			}
		}
	}
	if told == 0 {
		t.Error("no child is told anything")
	}
}

// Roots of layers, on a kernel before and after 6.6, writable and not.
func TestGoldenLayers(t *testing.T) {
	for _, host := range []string{"full", "debian-12"} {
		for _, readOnly := range []bool{false, true} {
			name := host
			if readOnly {
				name += "-read-only"
			}
			t.Run(name, func(t *testing.T) {
				p, h := shipped(t, "strict"), recorded(t, host)
				p.User.Map, p.Filesystem.ReadOnly = policy.MapIsolated, readOnly
				p.Filesystem.Workdir = "/srv/app"
				p.Filesystem.Mounts = append(p.Filesystem.Mounts, policy.Mount{Type: policy.Tmpfs, Target: "/cache"})
				spec := specOf(p, "make", "test")
				spec.Groups = []uint32{27}
				layer(spec, h, 3)
				compareGolden(t, filepath.Join("testdata/layers", name+".plan"), resolved(t, spec, h))
			})
		}
	}
}

// A job that is given a directory to write has the caller's id, and the image's
// files their owners.
func TestGoldenKeptID(t *testing.T) {
	h := recorded(t, "full")
	spec := specOf(shipped(t, "ci"), "make", "test")
	layer(spec, h, 1)
	spec.LayerMap, spec.KeepAs = policy.MapKeepID, spec.Policy.User.UID
	for _, f := range spec.Layers {
		file := h.Files[f]
		file.UID, file.GID = h.SubIDs.UID[0].Start, h.SubIDs.GID[0].Start
		h.Files[f] = file
	}
	compareGolden(t, "testdata/layers/full-kept-id.plan", resolved(t, spec, h))
}

// resolved is the plan's text with who holds which limit, or the refusal.
func resolved(t *testing.T, spec *sandbox.Spec, host *probe.Host) string {
	t.Helper()
	res, err := sandbox.Resolve(spec, host)
	if err != nil {
		if e := (*sandbox.Error)(nil); !errors.As(err, &e) || e.Message == "" || e.Fix == "" {
			t.Errorf("a refusal without its cause and fix: %v", err)
		}
		return "refused: " + err.Error() + "\n"
	}
	if err := plan.Check(res.Plan); err != nil {
		t.Error(err)
	}
	again, err := sandbox.Resolve(spec, host)
	if err != nil || again.Plan.Digest() != res.Plan.Digest() {
		t.Errorf("the second plan differs: %v\n%s", err, cmp.Diff(res.Plan, again.Plan))
	}
	var b strings.Builder
	b.WriteString(res.Plan.String())
	for _, l := range res.Limits {
		b.WriteString("held " + l.Limit + " " + l.Asked + " by " + l.Mechanism + " (" + string(l.EnforcedBy) + ")\n")
	}
	return b.String()
}

func compareGolden(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v: run go test ./sandbox -run TestGoldenPlans -update", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("the plan is another one (-recorded +now):\n%s", diff)
	}
}

// What no shipped policy may ever plan, on any host, whatever the golden files
// say.
func TestShippedPlansAreStrict(t *testing.T) {
	hosts, err := filepath.Glob(filepath.Join(recordedHosts, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range hosts {
		host = strings.TrimSuffix(filepath.Base(host), ".json")
		for _, name := range shippedNames(t) {
			res, err := sandbox.Resolve(specOf(shipped(t, name), "./a.out"), recorded(t, host))
			if err != nil {
				continue
			}
			p := res.Plan
			at := name + " on " + host
			for _, k := range []plan.Kind{plan.Seccomp, plan.Sysctl, plan.Proc, plan.Devpts, plan.OOMScore} {
				if p.Find(k) == nil {
					t.Errorf("%s: no %s", at, k)
				}
			}
			if !p.HasNamespace(plan.Net) {
				t.Errorf("%s: no network namespace", at)
			}
			if p.Find(plan.Landlock) == nil && host != "kernel-5.14" {
				t.Errorf("%s: no Landlock", at)
			}
			for i := range p.Ops {
				op := &p.Ops[i]
				if op.Kind == plan.Open && op.CharDevice == 0 && !op.Flags.Has(plan.InPlace) && !op.Flags.Has(plan.NoSuid|plan.NoDev) {
					t.Errorf("%s: %s", at, op)
				}
				if op.Kind == plan.Open && slices.Contains([]string{"/", "/home", "/home/alice", "/proc", "/sys", "/run", "/etc", "/root"}, op.Source) {
					t.Errorf("%s: %s", at, op)
				}
				// brig's own program makes trees with the owners that a layer names, and
				// a package manager does in its own image.
				if op.Kind == plan.Capabilities && len(op.Names) > 0 && name != "unpack" && name != "image" {
					t.Errorf("%s: %s", at, op)
				}
			}
		}
	}
}
