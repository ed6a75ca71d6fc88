package probe

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forget makes a cache in which the overlay is missing, and returns its path.
func forget(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", home)
	h, uts, err := basics()
	if err != nil {
		t.Fatal(err)
	}
	h.presume()
	h.Overlay = Fact{Tried: true, Cause: "cause", Fix: "fix"}
	h.UserNS = Fact{Tried: true, Cause: "never remembered"}
	h.NetNS = Fact{Tried: true, Cause: "for the moment"}
	h.remember(uts, map[FactName]bool{NetNS: true})
	return filepath.Join(home, "brig", cacheName)
}

func quick(t *testing.T) *Host {
	t.Helper()
	h, err := Quick(Question{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCacheRoundTrip(t *testing.T) {
	path := forget(t)
	h := quick(t)
	if want := (Fact{Tried: true, Cause: "cause", Fix: "fix"}); h.Overlay != want || !h.Cached {
		t.Errorf("got %+v, cached %v", h.Overlay, h.Cached)
	}
	if !h.UserNS.OK || !h.NetNS.OK {
		t.Errorf("remembered what must not be: %+v, %+v", h.UserNS, h.NetNS)
	}
	if f := Look(path); f.Mode != 0o600 {
		t.Errorf("mode %o", f.Mode)
	}
	// When nothing differs any more there is no file.
	_, uts, err := basics()
	if err != nil {
		t.Fatal(err)
	}
	h.presume()
	h.remember(uts, nil)
	if f := Look(path); f.Type != Absent {
		t.Errorf("still there: %+v", f)
	}
}

// TestCacheOfManager: what a service manager did is forgotten sooner. The first
// thing that is remembered in a home makes its place there.
func TestCacheOfManager(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "")
	home := t.TempDir()
	t.Setenv("HOME", home)
	h, uts, err := basics()
	if err != nil {
		t.Fatal(err)
	}
	h.HomeDir = home
	h.Cgroups = &Cgroups{Manager: "user"}
	h.presume()
	h.Overlay = Fact{Tried: true, Cause: "cause"}
	h.Scope = Fact{Tried: true, Cause: "no answer"}
	h.remember(uts, nil)
	path := home + "/.cache/brig/" + cacheName
	if f := Look(home + "/.cache"); f.Mode != 0o700 {
		t.Errorf("~/.cache: %+v", f)
	}
	for _, tt := range []struct {
		age      time.Duration
		believed bool
	}{{0, true}, {scopeExpiry / 2, true}, {scopeExpiry + time.Second, false}} {
		when := time.Now().Add(-tt.age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		h.presume()
		h.recall(uts)
		if h.Scope.OK == tt.believed || h.Overlay.OK {
			t.Errorf("after %v: %+v, %+v", tt.age, h.Scope, h.Overlay)
		}
	}
}

// TestCacheDistrusted: what is not the caller's own and of this moment's host is
// as good as absent.
func TestCacheDistrusted(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"corrupt":      func(p string) error { return os.WriteFile(p, []byte("{"), 0o600) },
		"empty":        func(p string) error { return os.Truncate(p, 0) },
		"other key":    func(p string) error { return replace(p, `"boot_id":"`, `"boot_id":"x`) },
		"other uid":    func(p string) error { return replace(p, `"uid":`, `"uid":1`) },
		"traced then":  func(p string) error { return replace(p, `""]},"facts"`, `"traced"]},"facts"`) },
		"other format": func(p string) error { return replace(p, `"version":1`, `"version":2`) },
		"writable":     func(p string) error { return os.Chmod(p, 0o620) },
		"large":        func(p string) error { return os.Truncate(p, maxCache+1) },
		"old":          func(p string) error { return os.Chtimes(p, time.Now(), time.Now().Add(-cacheExpiry-time.Hour)) },
		"old among others": func(p string) error {
			if err := os.Chmod(filepath.Dir(p), 0o777); err != nil { //nolint:gosec // that is what is tried
				return err
			}
			return os.Chtimes(p, time.Now(), time.Now().Add(-cacheExpiry-time.Hour))
		},
		"future":      func(p string) error { return os.Chtimes(p, time.Now(), time.Now().Add(time.Hour)) },
		"second name": func(p string) error { return os.Link(p, p+"2") },
		"link": func(p string) error {
			if err := os.Rename(p, p+".real"); err != nil {
				return err
			}
			return os.Symlink(p+".real", p)
		},
		"pipe": func(p string) error {
			if err := os.Remove(p); err != nil {
				return err
			}
			return unix.Mkfifo(p, 0o600)
		},
		"foreign": func(p string) error {
			if os.Getuid() != 0 {
				return os.Remove(p) // only root can give a file away
			}
			return os.Chown(p, 12345, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := forget(t)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			if h := quick(t); !h.Overlay.OK || h.Cached {
				t.Errorf("believed: %+v", h.Overlay)
			}
			// The next run need not read what was the caller's own.
			goes := !slices.Contains([]string{"writable", "large", "second name", "link", "pipe", "foreign", "old among others"}, name)
			if f := Look(path); name != "foreign" && (f.Type == Absent) != goes {
				t.Errorf("afterwards it is %+v, want it gone: %v", f, goes)
			}
		})
	}
}

func replace(path, from, to string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := []byte{}
	for i := 0; i < len(text); i++ {
		if i+len(from) <= len(text) && string(text[i:i+len(from)]) == from {
			changed = append(changed, to...)
			i += len(from) - 1
			continue
		}
		changed = append(changed, text[i])
	}
	return os.WriteFile(path, changed, 0o600)
}

// TestCacheWrittenNowhere: brig follows no link and trusts no directory of
// another user's, as when root runs it with that user's HOME.
func TestCacheWrittenNowhere(t *testing.T) {
	for name, spoil := range map[string]func(home, elsewhere string) error{
		"link":            func(home, elsewhere string) error { return os.Symlink(elsewhere, home+"/brig") },
		"open home":       func(home, _ string) error { return os.Chmod(home, 0o777) },
		"open directory":  func(home, _ string) error { return os.Mkdir(home+"/brig", 0o700) },
		"foreign home":    func(home, _ string) error { return chownRoot(home) },
		"a file in place": func(home, _ string) error { return os.WriteFile(home+"/brig", nil, 0o600) },
		"another's home": func(home, _ string) error {
			if err := os.Mkdir(home+"/of", 0o755); err != nil {
				return err
			}
			return chownRoot(home + "/of")
		},
		"relative XDG dir": func(home, _ string) error { return os.Remove(home) },
	} {
		t.Run(name, func(t *testing.T) {
			home, elsewhere := t.TempDir(), t.TempDir()
			if err := spoil(home, elsewhere); err != nil {
				t.Fatal(err)
			}
			if name == "open directory" {
				if err := os.Chmod(home+"/brig", 0o777); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("XDG_CACHE_HOME", home)
			if name == "another's home" {
				t.Setenv("XDG_CACHE_HOME", "")
				t.Setenv("HOME", home+"/of")
			}
			if name == "relative XDG dir" {
				t.Setenv("XDG_CACHE_HOME", "somewhere")
				t.Setenv("HOME", home)
			}
			h, uts, err := basics()
			if err != nil {
				t.Fatal(err)
			}
			h.presume()
			h.Overlay = Fact{Tried: true, Cause: "cause"}
			h.remember(uts, nil)
			for _, p := range []string{home + "/brig/" + cacheName, elsewhere + "/" + cacheName, "somewhere", home + "/of/.cache"} {
				if Look(p).Type != Absent {
					t.Errorf("written: %s", p)
				}
			}
		})
	}
}

// chownRoot gives a directory away where the caller may, else takes it away.
func chownRoot(dir string) error {
	if os.Getuid() != 0 {
		return os.Remove(dir)
	}
	return os.Chown(dir, 12345, 12345)
}
