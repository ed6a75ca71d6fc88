package sandbox_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// anImage is an image with users.
func anImage(t *testing.T) *sandbox.Image {
	t.Helper()
	dir := t.TempDir()
	etc := filepath.Join(dir, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/var/www:/bin/sh\nme:x:1000:100::/home/me:/bin/sh\n",
		"group":  "root:x:0:\nwww:x:33:\nssl:x:110:www,me\nown:x:1000:me\n",
	} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &sandbox.Image{
		Ref: "web:1", Digest: "sha256:00", Layers: []string{dir}, LayerMap: policy.MapKeepID,
		Entrypoint: []string{"/entry", "-x"}, Cmd: []string{"serve"},
		Env: []string{"PATH=/opt/bin:/bin", "LANG=C", "A=image"}, WorkingDir: "srv/../app/", User: "www",
		Volumes: []string{"/data/"}, Labels: map[string]string{"b": "2\x1b[2J", "a": "1"},
	}
}

// The config of an image, what the caller says, and what the policy says come
// together as Docker has them come together.
func TestUseImage(t *testing.T) {
	type got struct {
		Args, Env []string
		UID, GID  uint32
		Groups    []uint32
		Workdir   string
	}
	web := got{
		Args: []string{"/entry", "-x", "serve"}, Env: []string{"A=image", "HOME=/var/www", "LANG=C.UTF-8", "PATH=/opt/bin:/bin"},
		UID: 33, GID: 33, Groups: []uint32{110}, Workdir: "/app",
	}
	for _, tt := range []struct {
		name   string
		args   []string
		change func(*sandbox.Image, *sandbox.ImageOptions, *policy.Policy)
		want   func(*got)
	}{
		{"as it is", nil, nil, nil},
		{"arguments", []string{"a", "b"}, nil, func(g *got) { g.Args = []string{"/entry", "-x", "a", "b"} }},
		{"no entry point", []string{"a"}, func(i *sandbox.Image, _ *sandbox.ImageOptions, _ *policy.Policy) { i.Entrypoint = nil }, func(g *got) { g.Args = []string{"a"} }},
		{"another entry point", []string{"a"}, func(_ *sandbox.Image, o *sandbox.ImageOptions, _ *policy.Policy) { o.Entrypoint = []string{"sh"} }, func(g *got) { g.Args = []string{"sh", "a"} }},
		{"another entry point leaves the command out", nil, func(_ *sandbox.Image, o *sandbox.ImageOptions, _ *policy.Policy) { o.Entrypoint = []string{"sh"} }, func(g *got) { g.Args = []string{"sh"} }},
		{"entry point taken away", []string{"a"}, func(_ *sandbox.Image, o *sandbox.ImageOptions, _ *policy.Policy) { o.Entrypoint = []string{""} }, func(g *got) { g.Args = []string{"a"} }},
		{"the caller's user", nil, func(_ *sandbox.Image, o *sandbox.ImageOptions, _ *policy.Policy) { o.User = "1000:33" }, func(g *got) {
			g.UID, g.Groups, g.Env[1] = 1000, nil, "HOME=/home/me"
		}},
		{"no user: the policy's, never root by itself", nil, func(i *sandbox.Image, _ *sandbox.ImageOptions, _ *policy.Policy) { i.User = "" }, func(g *got) {
			g.UID, g.GID, g.Groups, g.Env[1] = 1000, 1000, []uint32{110}, "HOME=/home/me"
		}},
		{"the policy's variables, and its directory", nil, func(_ *sandbox.Image, o *sandbox.ImageOptions, p *policy.Policy) {
			p.Environment.Set = map[string]string{"A": "policy"}
			p.Environment.Inherit = []string{"TERM", "NONE"}
			p.Filesystem.Workdir = "/w"
			o.Lookup = func(name string) (string, bool) { return "xterm", name == "TERM" }
		}, func(g *got) {
			g.Env, g.Workdir = []string{"A=policy", "HOME=/var/www", "LANG=C", "PATH=/opt/bin:/bin", "TERM=xterm"}, "/w"
		}},
		{"the caller's PATH", nil, func(_ *sandbox.Image, o *sandbox.ImageOptions, _ *policy.Policy) { o.KeepPath = true }, func(g *got) { g.Env[3] = "PATH=/usr/local/bin:/usr/bin:/bin" }},
		{"PATH of nobody", nil, func(i *sandbox.Image, _ *sandbox.ImageOptions, p *policy.Policy) {
			p.Environment.Set, i.Env = nil, []string{"=x", "novalue", "HOME=/own"}
		}, func(g *got) {
			g.Env = []string{"HOME=/own", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img, p, o := anImage(t), shipped(t, "strict"), sandbox.ImageOptions{}
			p.Filesystem.Root = "image:web:1"
			if tt.change != nil {
				tt.change(img, &o, p)
			}
			before := *p
			spec := specOf(p, tt.args...)
			if err := spec.UseImage(img, o); err != nil {
				t.Fatal(err)
			}
			want := web
			want.Env = slices.Clone(web.Env)
			if tt.want != nil {
				tt.want(&want)
			}
			u := spec.Policy.User
			if diff := cmp.Diff(want, got{spec.Args, spec.Env, u.UID, u.GID, spec.Groups, spec.Policy.Filesystem.Workdir}); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(before, *p); diff != "" {
				t.Errorf("the caller's policy has changed:\n%s", diff)
			}
		})
	}
}

// Capabilities are root's, unless the caller asks for one by name.
func TestImageCapabilities(t *testing.T) {
	for _, tt := range []struct {
		user string
		ask  []string
		want []string
		note bool
	}{
		{"root", nil, []string{"CAP_CHOWN", "CAP_KILL"}, false},
		{"www", nil, []string{}, true},
		{"www", []string{"CAP_KILL", "CAP_SYS_ADMIN"}, []string{"CAP_KILL"}, true},
		{"www", []string{"CAP_KILL", "CAP_CHOWN"}, []string{"CAP_CHOWN", "CAP_KILL"}, false},
	} {
		img, p := anImage(t), shipped(t, "strict")
		p.Filesystem.Root, p.User.Capabilities = "image:web:1", []string{"CAP_CHOWN", "CAP_KILL"}
		spec := specOf(p)
		if err := spec.UseImage(img, sandbox.ImageOptions{User: tt.user, Capabilities: tt.ask}); err != nil {
			t.Fatal(err)
		}
		host := recorded(t, "full")
		host.Files[img.Layers[0]] = host.Files[projectDir]
		res, err := sandbox.Resolve(spec, host)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, spec.Policy.User.Capabilities); diff != "" {
			t.Errorf("%s: %s", tt.user, diff)
		}
		if told := strings.Contains(res.Plan.String(), "capabilities of the policy are for root"); told != tt.note {
			t.Errorf("%s with %v: told %v\n%s", tt.user, tt.ask, told, res.Plan.Notes)
		}
	}
}

// The plan shows what an image asks for, and nothing that a label says can
// forge a line of it.
func TestImageInPlan(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		img, p, host := anImage(t), shipped(t, "strict"), recorded(t, "full")
		p.Filesystem.Root, p.Filesystem.ReadOnly = "image:web:1", readOnly
		spec := specOf(p)
		if err := spec.UseImage(img, sandbox.ImageOptions{}); err != nil {
			t.Fatal(err)
		}
		layer(spec, host, 0)
		spec.LayerMap = policy.MapKeepID
		host.Files[img.Layers[0]] = host.Files[projectDir]
		res, err := sandbox.Resolve(spec, host)
		if err != nil {
			t.Fatal(err)
		}
		text := res.Plan.String()
		want := []string{
			"\nids keep-id ", "\n  uid 0:1000:1 1:100000:65535\n", " exec /entry -x serve from /entry\n", " chdir -> /app\n", " job-ids 33:33 groups 110 setgroups\n",
			"\nnote image web:1, sha256:00, as user 33 (www)\nnote label a=1\nnote \"label b=2\\x1b[2J\"\n",
		}
		want = append(want, " mountpoint -> /app dir\n")
		if readOnly {
			want = append(want, " tmpfs -> /data size 67108864 inodes 10000 mode 01777\n")
		} else {
			want = append(want, " mountpoint -> /data dir\n")
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("the plan lacks %q:\n%s", w, text)
			}
		}
		if root := res.Plan.Find(plan.Root); !root.Flags.Has(plan.InSource) || root.Flags.Has(plan.ReadOnly) {
			t.Errorf("root %s", root)
		}
	}
}

func TestUseImageRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*sandbox.Image)
		code   sandbox.Code
		want   string
	}{
		{"no command", func(i *sandbox.Image) { i.Entrypoint, i.Cmd = nil, nil }, sandbox.CodeNoCommand, "no command to run: image web:1 names none\n  fix: name one: brig run --image IMAGE -- COMMAND [ARG...]"},
		{"unknown user", func(i *sandbox.Image) { i.User = "nobody\x1b" }, sandbox.CodeIDs, `image web:1: user "nobody\x1b": there is none of that name in the image's /etc/passwd` + "\n  fix: name another user with --user"},
		{"volume is the root", func(i *sandbox.Image) { i.Volumes = []string{"//"} }, sandbox.CodeBadSpec, "image web:1: its volume // would hide what the sandbox is made of\n  fix: use another image"},
		{"volume in proc", func(i *sandbox.Image) { i.Volumes = []string{"/x/../proc/1"} }, sandbox.CodeBadSpec, "image web:1: its volume /x/../proc/1 would hide what the sandbox is made of\n  fix: use another image"},
		{"relative volume", func(i *sandbox.Image) { i.Volumes = []string{"data"} }, sandbox.CodeBadSpec, "image web:1: its volume data is no absolute path\n  fix: use another image"},
		{"volumes", func(i *sandbox.Image) { i.Volumes = make([]string, 101) }, sandbox.CodeBadSpec, "image web:1 has 101 volumes, the most is 100\n  fix: use another image"},
		{"working directory", func(i *sandbox.Image) { i.WorkingDir = "/a\x00b" }, sandbox.CodeBadSpec, "image web:1: its working directory holds a NUL byte\n  fix: choose one with --workdir"},
	} {
		img := anImage(t)
		tt.change(img)
		err := specOf(shipped(t, "strict")).UseImage(img, sandbox.ImageOptions{})
		if !errors.Is(err, &sandbox.Error{Code: tt.code}) || err.Error() != tt.want {
			t.Errorf("%s: %v\nwant %s", tt.name, err, tt.want)
		}
	}
}
