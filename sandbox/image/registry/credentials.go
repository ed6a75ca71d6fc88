package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/credentials"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Credentials are what docker login and podman login stored, in the files and
// with the helpers where they store it. They implement authn.Keychain.
//
// $REGISTRY_AUTH_FILE is the only file where it is set. Otherwise the first that
// has something for the registry counts: $DOCKER_CONFIG/config.json (else that
// of ~/.docker), then ${XDG_RUNTIME_DIR}/containers/auth.json, then that of
// $XDG_CONFIG_HOME (else ~/.config).
type Credentials struct {
	// Files are read in this order. One that is missing is passed over unless
	// Must is set.
	Files []string
	Must  bool
}

// DefaultCredentials are the caller's.
func DefaultCredentials() *Credentials {
	if file := os.Getenv("REGISTRY_AUTH_FILE"); file != "" {
		return &Credentials{Files: []string{file}, Must: true}
	}
	var files []string
	add := func(dir, name string) {
		if filepath.IsAbs(dir) {
			files = append(files, filepath.Join(dir, name))
		}
	}
	home := os.Getenv("HOME")
	below := func(dir, fallback string) string {
		if dir == "" && filepath.IsAbs(home) {
			return filepath.Join(home, fallback)
		}
		return dir
	}
	add(below(os.Getenv("DOCKER_CONFIG"), ".docker"), "config.json")
	add(os.Getenv("XDG_RUNTIME_DIR"), "containers/auth.json")
	add(below(os.Getenv("XDG_CONFIG_HOME"), ".config"), "containers/auth.json")
	return &Credentials{Files: files}
}

// maxCredentials is the longest file that is read, in bytes.
const maxCredentials = 4 << 20

// Resolve implements authn.Keychain.
func (c *Credentials) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return c.ResolveContext(context.Background(), r)
}

// ResolveContext implements authn.ContextKeychain. Without credentials it is
// authn.Anonymous.
func (c *Credentials) ResolveContext(_ context.Context, r authn.Resource) (authn.Authenticator, error) {
	for _, file := range c.Files {
		b, err := readSmall(file, maxCredentials)
		if errors.Is(err, fs.ErrNotExist) && !c.Must {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading credentials: %w", err)
		}
		cf, err := config.LoadFromReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("reading credentials: %s: %w", file, err)
		}
		found, err := lookUp(cf, r)
		if err != nil {
			return nil, fmt.Errorf("reading credentials: %s: %w", file, err)
		}
		if found != nil {
			return authn.FromConfig(*found), nil
		}
	}
	return authn.Anonymous, nil
}

// lookUp looks for a repository in one file: as podman has it, first under the
// repository and what it lies in, then under the registry.
func lookUp(cf *configfile.ConfigFile, r authn.Resource) (*authn.AuthConfig, error) {
	host := r.RegistryStr()
	for key := r.String(); strings.Contains(key, "/"); key = key[:strings.LastIndexByte(key, '/')] {
		if a, ok := cf.AuthConfigs[strings.Replace(key, name.DefaultRegistry, "docker.io", 1)]; ok && usable(a) {
			return toAuth(a), nil
		}
	}
	keys := []string{host}
	if host == name.DefaultRegistry {
		keys = []string{authn.DefaultAuthKey, "docker.io", host}
	}
	for _, key := range keys {
		if cf.CredentialHelpers[key] != "" || cf.CredentialsStore != "" {
			a, err := cf.GetCredentialsStore(key).Get(key)
			if err != nil {
				return nil, err
			}
			if usable(a) {
				return toAuth(a), nil
			}
		}
		if a, ok := cf.AuthConfigs[key]; ok && usable(a) {
			return toAuth(a), nil
		}
	}
	// Old files have addresses: https://HOST/v1/.
	for key, a := range cf.AuthConfigs {
		if strings.Contains(key, "://") && credentials.ConvertToHostname(key) == host && usable(a) {
			return toAuth(a), nil
		}
	}
	return nil, nil
}

func usable(a types.AuthConfig) bool {
	return a.Username != "" || a.Password != "" || a.Auth != "" || a.IdentityToken != "" || a.RegistryToken != ""
}

func toAuth(a types.AuthConfig) *authn.AuthConfig {
	return &authn.AuthConfig{
		Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
	}
}

// readSmall reads a file of at most limit bytes. A pipe or a device is refused:
// nobody would know why brig waits.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}
