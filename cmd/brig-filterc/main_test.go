package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// compiler is the brig-filterc beside the brig that is under test, or one that is
// built as it ships: static.
var compiler = sync.OnceValues(func() (string, error) {
	if brig := os.Getenv("BRIG_BIN"); brig != "" {
		path := filepath.Join(filepath.Dir(brig), seccomp.CompilerName)
		_, err := os.Stat(path)
		return path, err
	}
	dir, err := os.MkdirTemp("", "brig-test-filterc-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, seccomp.CompilerName)
	cmd := exec.CommandContext(context.Background(), "go", "build", "-ldflags", `-linkmode external -extldflags "-static"`, "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, errors.New(err.Error() + ": " + string(out))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := compiler(); err == nil && os.Getenv("BRIG_BIN") == "" {
		if os.RemoveAll(filepath.Dir(path)) != nil && code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

func newLoader(t testing.TB) *seccomp.Loader {
	t.Helper()
	path, err := compiler()
	if err != nil {
		t.Fatal(err)
	}
	return &seccomp.Loader{Cache: filepath.Join(t.TempDir(), "brig", "filters"), Compiler: path}
}

var settings = seccomp.Settings{Base: seccomp.BaseDefault, Deny: []string{"@sysv-ipc"}}

func load(t testing.TB, l *seccomp.Loader) *seccomp.Loaded {
	t.Helper()
	loaded, err := l.Load(t.Context(), settings, seccomp.Options{}, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestCompiledOnceThenCached(t *testing.T) {
	l := newLoader(t)
	first := load(t, l)
	if first.Origin != seccomp.FromCompiler || first.CacheFault != nil {
		t.Fatalf("first: %v, %v", first.Origin, first.CacheFault)
	}
	l.Compiler = "/nonexistent"
	second := load(t, l)
	if second.Origin != seccomp.FromCache || second.CacheFault != nil {
		t.Fatalf("second: %v, %v", second.Origin, second.CacheFault)
	}
	if _, err := l.Load(t.Context(), settings, seccomp.Options{SupervisedMemory: true}, runtime.GOARCH); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another setting came from the cache: %v", err)
	}
}

// TestBadEntriesAreMadeAgain spoils the cache's entry in every way and expects a
// reason, a right program and a right entry.
func TestBadEntriesAreMadeAgain(t *testing.T) {
	l := newLoader(t)
	load(t, l)
	key := seccomp.Key(settings, seccomp.Options{}, runtime.GOARCH)
	entry := filepath.Join(l.Cache, key)
	good, err := os.ReadFile(entry)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) func() error {
		return func() error { return os.WriteFile(entry, b, 0o600) }
	}
	// A whole, sealed program that does something else than the profile says.
	var other seccomp.Compiled
	if err := other.UnmarshalBinary(good); err != nil {
		t.Fatal(err)
	}
	for i := range other.Filters[0] {
		if in := &other.Filters[0][i]; in.Code == 0x06 && in.K == uint32(seccomp.Errno(1)) { // return EPERM
			in.K = uint32(seccomp.Allow)
		}
	}
	weaker, err := other.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, good, 0o600); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[100] ^= 1
	tests := map[string]struct {
		spoil func() error
		want  string
	}{
		"empty":         {write(nil), "malformed filter program: 0 bytes"},
		"cut":           {write(good[:len(good)/2]), "the digest does not fit the content"},
		"flipped bit":   {write(flipped), "the digest does not fit the content"},
		"other program": {write(weaker), "the filter program differs from its profile"},
		"symbolic link": {func() error { return errors.Join(os.Remove(entry), os.Symlink(elsewhere, entry)) }, "too many levels of symbolic links"},
		"writable":      {func() error { return os.Chmod(entry, 0o666) }, "has mode 0666, others may have changed it"},
		"pipe":          {func() error { return errors.Join(os.Remove(entry), syscall.Mkfifo(entry, 0o600)) }, "it is not a regular file"},
	}
	for name, test := range tests {
		if err := test.spoil(); err != nil {
			t.Fatal(name, err)
		}
		got := load(t, l)
		if got.Origin != seccomp.FromCompiler || got.CacheFault == nil || !strings.Contains(got.CacheFault.Error(), test.want) {
			t.Errorf("%s: %v, %v; want a fault with %q", name, got.Origin, got.CacheFault, test.want)
		}
		if again := load(t, l); again.Origin != seccomp.FromCache {
			t.Errorf("%s: not mended: %v %v", name, again.Origin, again.CacheFault)
		}
	}
	if err := os.Chmod(l.Cache, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := load(t, l); got.Origin != seccomp.FromCompiler || got.CacheFault == nil {
		t.Errorf("a cache that others can read: %v, %v", got.Origin, got.CacheFault)
	}
}

func TestConcurrentRunsShareTheCache(t *testing.T) {
	l := newLoader(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			got, err := l.Load(t.Context(), settings, seccomp.Options{}, runtime.GOARCH)
			if err != nil || got.CacheFault != nil {
				t.Errorf("%v %+v", err, got)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(l.Cache)
	if err != nil || len(entries) != 1 {
		t.Errorf("the cache holds %v: %v", entries, err)
	}
}

func TestUnusableCacheCostsTimeOnly(t *testing.T) {
	l := newLoader(t)
	if err := os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Cache = "/proc/self/nothing"
	got := load(t, l)
	if got.Origin != seccomp.FromCompiler || got.CacheFault == nil {
		t.Errorf("%v, %v", got.Origin, got.CacheFault)
	}
}

// TestWrongCompilerIsRefused gives programs that are not brig-filterc.
func TestWrongCompilerIsRefused(t *testing.T) {
	l := newLoader(t)
	script := func(text string) string {
		file := filepath.Join(t.TempDir(), "fake")
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	path := l.Compiler
	tests := map[string]struct{ text, want string }{
		"fails":            {"echo no >&2; exit 3", "exit status 3: no"},
		"says nothing":     {"", "malformed filter program: 0 bytes"},
		"another's filter": {`echo '{"Settings":{"Base":"default"},"Arch":"` + runtime.GOARCH + `"}' | ` + path, "differs from its profile"},
		"endless":          {"exec cat /dev/zero", "it writes without end"},
	}
	for name, test := range tests {
		l.Compiler = script(test.text)
		if _, err := l.Load(t.Context(), settings, seccomp.Options{}, runtime.GOARCH); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	l.Compiler = ""
	if _, err := l.Load(t.Context(), settings, seccomp.Options{}, runtime.GOARCH); !errors.Is(err, seccomp.ErrNoCompiler) {
		t.Errorf("none installed: %v", err)
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	tests := map[string]string{
		``:                               "reading the request: EOF",
		`{"Settings":{"Bas":"default"}}`: `reading the request: json: unknown field "Bas"`,
		`{"Arch":"amd64"} {}`:            "reading the request: something follows it",
		`{"Settings":{"Base":"default"},"Arch":"mips"}`: `architecture "mips": brig has filters for amd64 and arm64`,
		`{"Settings":{"Base":"none"},"Arch":"amd64"}`:   `base "none" has no program`,
	}
	for in, want := range tests {
		var out bytes.Buffer
		if err := run(nil, strings.NewReader(in), &out); err == nil || err.Error() != want || out.Len() > 0 {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
	if err := run([]string{"x"}, nil, nil); err == nil || err.Error() != `unexpected argument "x"` {
		t.Error(err)
	}
}

// TestShippedFilters compiles what ships and finds each by its key.
func TestShippedFilters(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, strings.Repeat("a", 64)+".bpf")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-shipped", dir, "-policies", filepath.Join("..", "..", "configs")}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a filter of no policy stayed: %v", err)
	}
	var index []shippedFilter
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err == nil {
		err = json.Unmarshal(b, &index)
	}
	if err != nil {
		t.Fatal(err)
	}
	if want := 8 * len(policy.ShippedNames(configs.FS)); len(index) != want {
		t.Errorf("%d filters, want %d", len(index), want)
	}
	l := seccomp.Loader{Shipped: func(key string) ([]byte, bool) {
		b, err := os.ReadFile(filepath.Join(dir, key+".bpf"))
		return b, err == nil
	}}
	for _, name := range policy.ShippedNames(configs.FS) {
		p, _, err := policy.Load(policy.LoadOptions{Name: name, Shipped: configs.FS, Files: os.DirFS("/"), Dir: anyDir})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range requests(p) {
			got, err := l.Load(t.Context(), r.Settings, r.Options, r.Arch)
			if err != nil || got.Origin != seccomp.FromShipped {
				t.Errorf("%s on %s: %v", name, r.Arch, err)
			}
		}
	}
}

// TestEmbeddedFiltersFit checks the filters that brig was built with, if they
// have been made: each is right, and none is missing.
func TestEmbeddedFiltersFit(t *testing.T) {
	names := policy.ShippedNames(configs.FS)
	for _, name := range names {
		p, _, err := policy.Load(policy.LoadOptions{Name: name, Shipped: configs.FS, Files: os.DirFS("/"), Dir: anyDir})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range requests(p) {
			profile, err := seccomp.Resolve(r.Settings, r.Options, r.Arch)
			if err != nil {
				t.Fatal(err)
			}
			b, ok := configs.Filter(profile.Key)
			if !ok {
				sandboxtest.Lacks(t, "filters", errors.New("the shipped filters have not been compiled from this source: run make build"))
			}
			var c seccomp.Compiled
			if err := c.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			if err := seccomp.Verify(profile, &c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func BenchmarkShipped(b *testing.B) {
	l := newLoader(b)
	load(b, l)
	program, err := os.ReadFile(filepath.Join(l.Cache, seccomp.Key(settings, seccomp.Options{}, runtime.GOARCH)))
	if err != nil {
		b.Fatal(err)
	}
	l.Shipped = func(string) ([]byte, bool) { return program, true }
	for b.Loop() {
		load(b, l)
	}
}

func BenchmarkCached(b *testing.B) {
	l := newLoader(b)
	load(b, l)
	for b.Loop() {
		load(b, l)
	}
}

func BenchmarkCompiled(b *testing.B) {
	l := newLoader(b)
	l.Cache = ""
	for b.Loop() {
		load(b, l)
	}
}
