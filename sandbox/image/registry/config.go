package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// Config says how registries are reached, by the first part of an image's name.
// What is not in it is reached at its own name, by verified TLS.
type Config struct {
	Registries map[string]Registry
}

// Registry is how one is reached.
type Registry struct {
	// Mirrors are asked before the registry itself, in this order: HOST[:PORT]
	// or HOST[:PORT]/PREFIX. They are only pulled from.
	Mirrors []string `toml:"mirrors"`
	// Insecure allows a certificate that cannot be verified, and plain HTTP where
	// there is no TLS.
	Insecure bool `toml:"insecure"`
}

// configFile is registries.toml, version 1.
type configFile struct {
	Version    int                 `toml:"version"`
	Registries map[string]Registry `toml:"registry"`
}

// maxConfig is the longest file that is read, in bytes.
const maxConfig = 1 << 20

// ConfigFiles are the files that are read, the later ones before the earlier
// ones. A project's directory is not among them: who may be trusted is not for
// a project to say.
func ConfigFiles() []string {
	files := []string{"/etc/brig/registries.toml"}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if home := os.Getenv("HOME"); !filepath.IsAbs(dir) && filepath.IsAbs(home) {
		dir = filepath.Join(home, ".config")
	}
	if filepath.IsAbs(dir) {
		files = append(files, filepath.Join(dir, "brig/registries.toml"))
	}
	return files
}

// ReadConfig reads files, of which any may be missing. What a later one says of
// a registry takes the place of what an earlier one says of it.
func ReadConfig(files ...string) (*Config, error) {
	c := &Config{Registries: map[string]Registry{}}
	for _, name := range files {
		b, err := readSmall(name, maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the registries: %w", err)
		}
		list, err := parseConfig(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		maps.Copy(c.Registries, list)
	}
	return c, nil
}

// parseConfig reads one file. A key that it does not know is an error.
func parseConfig(text string) (map[string]Registry, error) {
	var f configFile
	md, err := toml.Decode(text, &f)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("line %d: %s", syntax.Position.Line, syntax.Message)
		}
		return nil, err
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		key := unknown[0]
		return nil, fmt.Errorf("%sunknown key %q\n  fix: there are version, and mirrors and insecure in a table [registry.\"HOST\"]", lineOf(text, key[len(key)-1]), key.String())
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("%sversion is %d\n  fix: write version = 1", lineOf(text, "version"), f.Version)
	}
	list := map[string]Registry{}
	for host, r := range f.Registries {
		domain, err := parseHost(host)
		if err != nil {
			return nil, fmt.Errorf("%s%w", lineOf(text, host), err)
		}
		for _, m := range r.Mirrors {
			if _, err := parseMirror(m, "x"); err != nil {
				return nil, fmt.Errorf("%sregistry %q: %w", lineOf(text, m), host, err)
			}
		}
		if _, twice := list[domain]; twice {
			return nil, fmt.Errorf("%sregistry %q is there twice: it has two names", lineOf(text, domain), domain)
		}
		list[domain] = r
	}
	return list, nil
}

// lineOf says in which line a word is first, for a person who looks for it.
func lineOf(text, word string) string {
	for i, line := range strings.Split(text, "\n") {
		if before, _, _ := strings.Cut(line, "#"); strings.Contains(before, word) {
			return fmt.Sprintf("line %d: ", i+1)
		}
	}
	return ""
}

// parseHost checks the first part of images' names.
func parseHost(s string) (string, error) {
	n, err := image.ParseName(s + "/x")
	if err != nil || n.Path != "x" && n.Path != "library/x" || strings.Contains(s, "/") {
		return "", fmt.Errorf("%q is not a registry: HOST or HOST:PORT, as images' names begin with it", s)
	}
	return n.Domain, nil
}

// parseMirror gives the name under which a mirror has a repository.
func parseMirror(mirror, path string) (image.Name, error) {
	host, prefix, _ := strings.Cut(mirror, "/")
	domain, err := parseHost(host)
	if err != nil {
		return image.Name{}, fmt.Errorf("mirror %q: %w", mirror, err)
	}
	if prefix != "" {
		path = strings.Trim(prefix, "/") + "/" + path
	}
	n, err := image.ParseName(domain + "/" + path)
	if err != nil {
		return image.Name{}, fmt.Errorf("mirror %q: %w", mirror, err)
	}
	return n, nil
}

// sources are where an image's repository is looked for, mirrors first.
func (c *Config) sources(n image.Name) ([]image.Name, error) {
	var list []image.Name
	for _, m := range c.Registries[n.Domain].Mirrors {
		at, err := parseMirror(m, n.Path)
		if err != nil {
			return nil, err
		}
		at.Tag, at.Digest = n.Tag, n.Digest
		list = append(list, at)
	}
	return append(list, n), nil
}

// insecureHosts are the hosts for which somebody has allowed it.
func (c *Config) insecureHosts() []string {
	var list []string
	for host, r := range c.Registries {
		if r.Insecure {
			list = append(list, host)
		}
	}
	slices.Sort(list)
	return list
}
