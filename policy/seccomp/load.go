package seccomp

import (
	"context"
	"errors"
	"fmt"
)

// Loader finds the program for settings: among the shipped ones, else in the
// cache, else by compiling.
type Loader struct {
	// Shipped gives the embedded program for a key (configs.Filter). Those are
	// verified when brig is built.
	Shipped func(key string) (program []byte, ok bool)
	// Cache is the directory of programs compiled earlier; empty for none. See
	// CacheDir.
	Cache string
	// Compiler is the path of brig-filterc; empty to look for it where brig is
	// installed.
	Compiler string
}

// Origin says where a program came from.
type Origin string

// The origins.
const (
	FromShipped  Origin = "shipped"
	FromCache    Origin = "cache"
	FromCompiler Origin = "compiled"
)

// Loaded is what Load found.
type Loaded struct {
	Program *Compiled
	Origin  Origin
	// CacheFault says why a compiled program could not be read from or kept in
	// the cache. It costs time, not safety.
	CacheFault error
}

// Load finds or makes the program for the settings. On the way a shipped program
// takes, nothing is resolved; every other program is verified against the
// profile before it is returned. Base "none" has no program: Program is nil.
func (l *Loader) Load(ctx context.Context, s Settings, o Options, arch string) (*Loaded, error) {
	if s.Base == BaseNone {
		if _, err := Resolve(s, o, arch); err != nil {
			return nil, err
		}
		return &Loaded{}, nil
	}
	key := Key(s, o, arch)
	if l.Shipped != nil {
		if b, ok := l.Shipped(key); ok {
			c, err := decode(b, key, arch)
			if err != nil {
				return nil, fmt.Errorf("shipped filter %s: %w: build brig again", key, err)
			}
			return &Loaded{Program: c, Origin: FromShipped}, nil
		}
	}
	p, err := Resolve(s, o, arch)
	if err != nil {
		return nil, err
	}
	return l.slow(ctx, p, Request{Settings: s, Options: o, Arch: arch})
}

// slow reads the cache, or compiles and fills it.
func (l *Loader) slow(ctx context.Context, p *Profile, r Request) (*Loaded, error) {
	var faults []error
	if l.Cache != "" {
		c, err := readCache(l.Cache, p)
		if err == nil && c != nil {
			return &Loaded{Program: c, Origin: FromCache}, nil
		}
		faults = append(faults, err)
	}
	c, err := l.compile(ctx, p, r)
	if err != nil {
		return nil, err
	}
	if l.Cache != "" {
		faults = append(faults, writeCache(l.Cache, c))
	}
	return &Loaded{Program: c, Origin: FromCompiler, CacheFault: errors.Join(faults...)}, nil
}

// decode reads a program and makes sure that it is the one asked for.
func decode(b []byte, key, arch string) (*Compiled, error) {
	var c Compiled
	if err := c.UnmarshalBinary(b); err != nil {
		return nil, err
	}
	if c.Key != key || c.Arch != arch {
		return nil, fmt.Errorf("%w: it is %s for %s, want %s for %s", ErrMismatch, c.Key, c.Arch, key, arch)
	}
	return &c, nil
}
