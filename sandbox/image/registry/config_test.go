package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/brig-sandbox/brig/sandbox/image"
)

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	system := write("system.toml", "version = 1\n[registry.\"index.docker.io\"]\nmirrors = [\"m.example/hub\"]\n[registry.\"a:5000\"]\ninsecure = true\n")
	user := write("user.toml", "version = 1\n[registry.\"a:5000\"]\nmirrors = [\"b.c\"]\n")
	c, err := ReadConfig(system, filepath.Join(dir, "missing.toml"), user)
	want := map[string]Registry{"docker.io": {Mirrors: []string{"m.example/hub"}}, "a:5000": {Mirrors: []string{"b.c"}}}
	if err != nil || cmp.Diff(want, c.Registries) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(want, c.Registries))
	}
	for text, want := range map[string]string{
		"version = 1\n[registry.a]\ninsecur = true": `line 3: unknown key "registry.a.insecur"` + "\n" + `  fix: there are version, and mirrors and insecure in a table [registry."HOST"]`,
		"version = 2":                     "line 1: version is 2\n  fix: write version = 1",
		"[registry.a]":                    "version is 0\n  fix: write version = 1",
		"version = 1\n[registry.\"a/b\"]": `line 2: "a/b" is not a registry: HOST or HOST:PORT, as images' names begin with it`,
		"version = 1\n[registry.\"a:5000\"]\nmirrors = [\"-x\"]":                        `line 3: registry "a:5000": mirror "-x": "-x" is not a registry: HOST or HOST:PORT, as images' names begin with it`,
		"version = 1\n[registry.\"a:5000\"]\nmirrors = [\"b.c/../d\"]":                  `line 3: registry "a:5000": mirror "b.c/../d": invalid reference "b.c/../d/x": a name's parts are letters and digits, with single dots, one or two underscores, or dashes between them`,
		"version = 1\n[registry.\"docker.io\"]\n[registry.\"index.docker.io\"]":         `line 2: registry "docker.io" is there twice: it has two names`,
		"version = 1\n[registry.\"a:5000\"]\ninsecure = 1":                              `toml: line 3 (last key "registry.\"a:5000\".insecure"): incompatible types: TOML value has type int64; destination has type boolean`,
		"version = 1\n[registry.\"a:5000\"]\ninsecure = true\n[registry.\"a:5000\"]\nx": `line 4: Key 'registry."a:5000"' has already been defined.`,
	} {
		file := write("bad.toml", text)
		_, err := ReadConfig(file)
		if got := err.Error(); got != file+": "+want {
			t.Errorf("%q: %s", text, got)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(filepath.Join(dir, "d")); text(err) != fmt.Sprintf("reading the registries: %s/d is not a regular file", dir) {
		t.Error(err)
	}
}

func TestChoose(t *testing.T) {
	entry := func(platform string, mediaType string) image.Descriptor {
		p, err := ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		return image.Descriptor{MediaType: mediaType, Digest: image.DigestOf([]byte(platform)), Platform: &p}
	}
	x := &image.Index{Manifests: []image.Descriptor{
		{MediaType: image.TypeManifest},
		entry("linux/amd64", "application/vnd.example"),
		entry("linux/arm/v6", image.TypeManifest), entry("linux/arm/v7", image.TypeManifest),
		entry("linux/arm64/v8", image.TypeManifest), entry("linux/riscv64/odd", image.TypeManifest),
	}}
	for asked, want := range map[string]string{
		"linux/arm64": "linux/arm64/v8", "linux/arm64/v8": "linux/arm64/v8", "linux/arm": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6",
		"linux/riscv64": "linux/riscv64/odd",
	} {
		p, err := ParsePlatform(asked)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := choose(x, p); err != nil || d.Platform.String() != want {
			t.Errorf("%s: %v %v", asked, d, err)
		}
	}
	for asked, want := range map[string]string{
		"linux/amd64":     "there is no image for linux/amd64, only for linux/arm/v6, linux/arm/v7, linux/arm64/v8, linux/riscv64/odd",
		"linux/arm/v5":    "there is no image for linux/arm/v5, only for linux/arm/v6, linux/arm/v7, linux/arm64/v8, linux/riscv64/odd",
		"linux":           "\"linux\" is not a platform\n  fix: write linux/amd64 or linux/arm/v7, for example",
		"windows/amd64":   `the platform "windows/amd64" is not of Linux, and brig's images are`,
		"linux/amd64/../": "\"linux/amd64/../\" is not a platform\n  fix: write linux/amd64 or linux/arm/v7, for example",
	} {
		p, err := ParsePlatform(asked)
		if err == nil {
			_, err = choose(x, p)
		}
		if text(err) != want {
			t.Errorf("%s: %v", asked, err)
		}
	}
}

// credentialsFile is the caller's only file of credentials.
func credentialsFile(t *testing.T, content string) *Credentials {
	t.Helper()
	file := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Credentials{Files: []string{file}}
}

func TestCredentials(t *testing.T) {
	bin := t.TempDir()
	helper := "#!/bin/sh\nread host\n[ \"$1\" = get ] || exit 1\ncase $host in\nhelped.example) echo '{\"Username\":\"from\",\"Secret\":\"helper\"}';;\ntoken.example) echo '{\"Username\":\"<token>\",\"Secret\":\"id\"}';;\n*) echo 'credentials not found in native keychain'; exit 1;;\nesac\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-test"), []byte(helper), 0o700); err != nil { //nolint:gosec // it is executed
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	c := credentialsFile(t, `{
		"auths": {
			"plain.example": {"auth": "dTpw"},
			"spaces.example/a": {"auth": "YTph"},
			"spaces.example/a/b": {"auth": "Yjpi"},
			"https://old.example/v1/": {"auth": "bzpv"},
			"https://index.docker.io/v1/": {"auth": "aDpo"},
			"empty.example": {}
		},
		"credHelpers": {"helped.example": "test", "token.example": "test", "unhelped.example": "test"}
	}`)
	for where, want := range map[string]authn.AuthConfig{
		"plain.example/x":       {Username: "u", Password: "p"},
		"other.example/x":       {},
		"empty.example/x":       {},
		"spaces.example/a/c":    {Username: "a", Password: "a"},
		"spaces.example/a/b/c":  {Username: "b", Password: "b"},
		"spaces.example/ab":     {},
		"old.example/x":         {Username: "o", Password: "o"},
		"index.docker.io/x/y":   {Username: "h", Password: "h"},
		"helped.example/x":      {Username: "from", Password: "helper"},
		"token.example/x":       {IdentityToken: "id"},
		"unhelped.example/x":    {},
		"plain.example:5000/xy": {},
	} {
		repo, err := name.NewRepository(where)
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.Resolve(repo)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		got, err := a.Authorization()
		if err != nil || got.Username != want.Username || got.Password != want.Password || got.IdentityToken != want.IdentityToken {
			t.Errorf("%s: %+v %v", where, got, err)
		}
	}
	repo, err := name.NewRepository("plain.example/x")
	if err != nil {
		t.Fatal(err)
	}
	bad := credentialsFile(t, "{")
	if _, err := bad.Resolve(repo); text(err) != "reading credentials: "+bad.Files[0]+": unexpected EOF" {
		t.Error(err)
	}
	missing := &Credentials{Files: []string{"/no/such/file"}, Must: true}
	if _, err := missing.Resolve(repo); text(err) != "reading credentials: stat /no/such/file: no such file or directory" {
		t.Error(err)
	}
}

func TestDefaultCredentials(t *testing.T) {
	for _, v := range []string{"REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(v, "")
	}
	t.Setenv("HOME", "/h")
	want := []string{"/h/.docker/config.json", "/h/.config/containers/auth.json"}
	if c := DefaultCredentials(); c.Must || cmp.Diff(want, c.Files) != "" {
		t.Errorf("%+v", c)
	}
	t.Setenv("DOCKER_CONFIG", "/d")
	t.Setenv("XDG_RUNTIME_DIR", "/r")
	t.Setenv("XDG_CONFIG_HOME", "/c")
	want = []string{"/d/config.json", "/r/containers/auth.json", "/c/containers/auth.json"}
	if c := DefaultCredentials(); c.Must || cmp.Diff(want, c.Files) != "" {
		t.Errorf("%+v", c)
	}
	t.Setenv("REGISTRY_AUTH_FILE", "/a")
	if c := DefaultCredentials(); !c.Must || cmp.Diff([]string{"/a"}, c.Files) != "" {
		t.Errorf("%+v", c)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("version = 1\n[registry.\"docker.io\"]\nmirrors = [\"m.example/hub\"]\ninsecure = true\n")
	f.Add("version = 1\nregistry = {}\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseConfig(text)
		if err != nil {
			return
		}
		c := &Config{Registries: list}
		for _, host := range c.insecureHosts() {
			if again, err := parseHost(host); err != nil || again != host {
				t.Errorf("%q is insecure, and no registry", host)
			}
		}
		for host := range list {
			if _, err := c.sources(image.Name{Domain: host, Path: "a/b", Tag: "1"}); err != nil {
				t.Errorf("%q: %v", host, err)
			}
		}
	})
}
