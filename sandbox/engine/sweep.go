package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Leftovers are the directories that Sweep would remove, relative to the store.
func (s *Store) Leftovers() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the containers: %w", err)
	}
	var left []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newPrefix) && !strings.HasPrefix(e.Name(), gonePrefix) {
			continue
		}
		c, err := s.abandoned(e.Name())
		if err != nil {
			return nil, err
		}
		if c != nil {
			c.unlock()
			left = append(left, e.Name())
		}
	}
	return left, nil
}

// Sweep removes what killed processes have left. It is cheap where there is
// nothing; what cannot be removed now is left for the next sweep. settle, where
// it is not nil, is called before that for a container with an application to a
// directory of the host's that was interrupted, and ends that.
func (s *Store) Sweep(ctx context.Context, settle func(context.Context, *Container) error) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweeping the containers: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) || strings.HasPrefix(e.Name(), gonePrefix) {
			errs = append(errs, s.sweep(ctx, e.Name(), settle))
		}
	}
	return errors.Join(errs...)
}

// abandoned locks a directory that a killed process has left. It is nil where its
// maker or remover is at it, or has just finished. The store's lock keeps it from
// seeing what these do in more than one step.
func (s *Store) abandoned(name string) (*Container, error) {
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	c := &Container{store: s, dir: filepath.Join(s.dir, name)}
	err = c.lockFile(os.O_CREATE, unix.LOCK_EX)
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (s *Store) sweep(ctx context.Context, name string, settle func(context.Context, *Container) error) error {
	c, err := s.abandoned(name)
	if c == nil {
		return err
	}
	defer c.unlock()
	if b, err := readFile(filepath.Join(c.dir, "container.json"), maxRecord); err == nil {
		if r, err := parseRecord(b); err == nil {
			c.Record = *r
		}
	}
	if settle != nil && strings.HasPrefix(name, newPrefix) {
		if err := settle(ctx, c); err != nil {
			return fmt.Errorf("ending what was begun for %s: %w", name, err)
		}
	}
	return c.destroy(ctx)
}
