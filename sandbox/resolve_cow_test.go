package sandbox_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
)

// rootOn is a recorded host as root has it, in a directory of root's.
func rootOn(t *testing.T, name string) *probe.Host {
	t.Helper()
	h := recorded(t, name)
	byRoot(h)
	f := h.Files[projectDir]
	f.UID, f.GID, f.Mode = 0, 0, 0o700
	h.Files[projectDir] = f
	return h
}

// What root gives copy-on-write is overlaid, on kernels before and after 6.6, and
// copied on one before 5.19; kept or not.
func TestGoldenRoot(t *testing.T) {
	for _, host := range []string{"full", "debian-12", "kernel-5.14"} {
		t.Run(host, func(t *testing.T) {
			compareGolden(t, filepath.Join("testdata/root", host+".plan"), resolved(t, specOf(shipped(t, "default"), "make", "test"), rootOn(t, host)))
		})
		t.Run(host+"-kept", func(t *testing.T) {
			spec := specOf(shipped(t, "default"), "make", "test")
			spec.Keep = &sandbox.Keep{Dir: "/var/lib/brig/containers/NEW/data"}
			compareGolden(t, filepath.Join("testdata/root", host+"-kept.plan"), resolved(t, spec, rootOn(t, host)))
		})
	}
}

// The owner of the directory is the job inside, whoever either of them is.
func TestViewOfOwner(t *testing.T) {
	tests := []struct {
		name     string
		uid, gid uint32 // of the directory
		change   func(*sandbox.Spec)
		want     string
		note     string
	}{
		{"root's", 0, 0, nil, "owner 0:0 as 1000:1000 mapped", "called by root: what belongs to 0:0 in " + projectDir + ", as the directory does, is the job's inside"},
		{"a user's", 1001, 100, nil, "owner 1001:100 as 1000:1000 mapped", "called by root: what belongs to 1001:100 in " + projectDir + ", as the directory does, is the job's inside"},
		{"the job is root", 0, 0, func(s *sandbox.Spec) { s.Policy.User.UID, s.Policy.User.GID = 0, 0 }, "owner 0:0 as 0:0 mapped", ""},
		{"one id", 0, 0, func(s *sandbox.Spec) { s.Policy.User.Map = policy.MapSingle }, "owner 0:0 as 1000:1000 mapped", ""},
		{"isolated", 0, 0, func(s *sandbox.Spec) { s.Policy.User.Map = policy.MapIsolated }, "owner 0:0 as 1000:1000 mapped", ""},
		{"as another job saw it", 0, 0, func(s *sandbox.Spec) { s.CowOwner = &[2]uint32{1<<20 + 7, 1<<20 + 8} }, "owner 0:0 as 7:8 mapped", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := rootOn(t, "full")
			f := host.Files[projectDir]
			f.UID, f.GID = tt.uid, tt.gid
			host.Files[projectDir] = f
			spec := specOf(shipped(t, "default"), "true")
			spec.Policy.User.Map = policy.MapKeepID
			if tt.change != nil {
				tt.change(spec)
			}
			res, err := sandbox.Resolve(spec, host)
			if err != nil {
				t.Fatal(err)
			}
			lower := res.Plan.Find(plan.Overlay).Handle
			i := slices.IndexFunc(res.Plan.Ops, func(op plan.Op) bool { return op.Kind == plan.Open && op.Handle == lower })
			if got := res.Plan.Ops[i].String(); !strings.HasSuffix(got, " "+projectDir+" "+tt.want) {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			if tt.note != "" && !slices.Contains(res.Plan.Notes, tt.note) {
				t.Errorf("notes %q", res.Plan.Notes)
			}
		})
	}
}

// Owners beyond what is mapped belong to nobody, and a plan says so.
func TestViewOfOthers(t *testing.T) {
	host := rootOn(t, "full")
	host.Owners = map[string][]probe.Owner{projectDir: {{UID: 0, GID: 0, Example: "a"}, {UID: 1000, GID: 65535, Example: "b"}, {UID: 70000, GID: 0, Example: "c\x1b"}, {UID: 5, GID: 65536, Example: "d"}}}
	const tail = ", belong to nobody inside: the job can read but not change them (EOVERFLOW)"
	b, c, d := "1000:65535 in "+projectDir+", such as b"+tail, "70000:0 in "+projectDir+`, such as c\x1b`+tail, "5:65536 in "+projectDir+", such as d"+tail
	const hint = "; with --userns keep-id they belong to their own number"
	for kind, want := range map[policy.UserMap][]string{policy.MapKeepID: {c, d}, policy.MapSingle: {b + hint, c, d}} {
		spec := specOf(shipped(t, "default"), "true")
		spec.Policy.User.Map = kind
		res, err := sandbox.Resolve(spec, host)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range res.Plan.Notes {
			if rest, ok := strings.CutPrefix(n, "files of "); ok {
				got = append(got, rest)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got  %q\nwant %q", kind, got, want)
		}
	}
}

// Where there is no view the directory is copied, and a plan says why; what is to
// be kept, or compared, is refused then.
func TestNoView(t *testing.T) {
	const noFS = "its file system takes no part in idmapped mounts, or not in overlays of them"
	tests := []struct {
		name   string
		change func(*sandbox.Spec, *probe.Host)
		cause  string
		fix    string // of a refusal; empty for a copy
	}{
		{"old kernel", func(_ *sandbox.Spec, h *probe.Host) {
			h.Kernel = probe.Kernel{Major: 5, Minor: 18, Release: "5.18.1"}
		}, "Linux overlays directories for other owners from 5.19 on, this is 5.18.1", ""},
		{"no overlayfs", func(_ *sandbox.Spec, h *probe.Host) { h.Overlay = probe.Fact{Cause: "it is not there"} }, "overlayfs cannot be mounted here: it is not there", ""},
		{"file system", func(_ *sandbox.Spec, h *probe.Host) {
			h.Views = map[string]probe.Fact{projectDir: {Tried: true, Cause: noFS}}
		}, noFS, ""},
		{"a mount below", func(_ *sandbox.Spec, h *probe.Host) {
			h.Mounts = []probe.Mount{{Point: projectDir, FSType: "ext4"}, {Point: projectDir + "/sub", FSType: "tmpfs"}}
		}, "a tmpfs is mounted below it at " + projectDir + "/sub", ""},
		{"a file", func(s *sandbox.Spec, _ *probe.Host) {
			s.Policy.Filesystem.Mounts = []policy.Mount{mount(projectDir+"/input", "/in", policy.CopyOnWrite)}
		}, "it is not a directory", ""},
		{"to be kept", func(s *sandbox.Spec, h *probe.Host) {
			s.Keep = &sandbox.Keep{Dir: "/var/lib/brig/containers/NEW/data"}
			h.Views = map[string]probe.Fact{projectDir: {Tried: true, Cause: noFS}}
		}, projectDir + " cannot be given copy-on-write and kept: called by root, it would be a copy, since " + noFS, "run brig as the user whose directory it is, keep nothing, or give it with access copy or ro"},
		{"to be compared", func(s *sandbox.Spec, h *probe.Host) {
			s.CowOwner = &[2]uint32{1 << 20, 1 << 20}
			h.Views = map[string]probe.Fact{projectDir: {Tried: true, Cause: noFS}}
		}, projectDir + " cannot be compared with what a job made of it: " + noFS, "have the directory where it was"},
		{
			"of ids that are not there", func(s *sandbox.Spec, _ *probe.Host) { s.CowOwner = &[2]uint32{1 << 20, 1000} },
			projectDir + " cannot be shown as to 1048576:1000: these ids are not mapped", "call brig as the one who called it when the files were made",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, host := specOf(shipped(t, "default"), "true"), rootOn(t, "full")
			tt.change(spec, host)
			source := spec.Policy.Filesystem.Mounts[0].Source
			res, err := sandbox.Resolve(spec, host)
			if tt.fix != "" {
				if e := (*sandbox.Error)(nil); !errors.As(err, &e) || e.Message != tt.cause || e.Fix != tt.fix {
					t.Errorf("got  %v\nwant %s\n  fix: %s", err, tt.cause, tt.fix)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if op := res.Plan.Find(plan.Copy); op == nil || op.Source != source || res.Plan.Find(plan.Overlay) != nil {
				t.Errorf("the plan is\n%s", res.Plan)
			}
			if note := source + " is copied, not overlaid: called by root, no id of the sandbox owns it, and " + tt.cause; !slices.Contains(res.Plan.Notes, note) {
				t.Errorf("notes %q\nwant %s", res.Plan.Notes, note)
			}
		})
	}
}

// What is copied into a root that is kept is kept with it; beside an overlay that
// is kept it would be lost.
func TestCopyIsKeptWithItsRoot(t *testing.T) {
	for _, image := range []bool{true, false} {
		spec, host := specOf(shipped(t, "default"), "true"), rootOn(t, "full")
		host.Views = map[string]probe.Fact{projectDir: {Tried: true, Cause: "of its file system"}}
		spec.Keep = &sandbox.Keep{Dir: "/var/lib/brig/containers/NEW/data"}
		if image {
			spec.Policy.User.Map = policy.MapIsolated
			layer(spec, host, 2)
		} else {
			host.Files["/srv/other"] = host.Files[projectDir]
			spec.Policy.Filesystem.Mounts = append(spec.Policy.Filesystem.Mounts, mount("/srv/other", "/other", policy.CopyOnWrite))
		}
		_, err := sandbox.Resolve(spec, host)
		if e := (*sandbox.Error)(nil); image && err != nil || !image && (!errors.As(err, &e) || e.Code != sandbox.CodeSource) {
			t.Errorf("image %v: %v", image, err)
		}
	}
}
