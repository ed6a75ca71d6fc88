package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/configs/compiled"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/changes"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

// roleChanges reads or takes back the changes of an overlay, inside a sandbox.
const roleChanges = "sandboxed-changes"

// Where an overlay's directories are inside.
const (
	insideUpper = "/upper"
	insideLower = "/lower"
	insideData  = "/data" // where a copy of an upper goes
	// insideHeld is an upper in memory, which is handed to the program: the dot
	// makes of the link in proc a directory that it leads to.
	insideHeld = "/proc/self/fd/3/."
)

// What the sandboxed program is asked for.
const (
	askScan    = "scan"    // every change
	askPatch   = "patch"   // those below Paths, with what they are in a patch
	askFetch   = "fetch"   // those of Paths, with the new files
	askDiscard = "discard" // take those of Paths back
	askSettle  = "settle"  // forget those of Paths, which the host has
	askClear   = "clear"   // take everything back
	askCopy    = "copy"    // make a copy of the upper
)

// ask is the request.
type ask struct {
	What   string   `json:"what"`
	Lowers int      `json:"lowers"`
	Held   bool     `json:"held,omitempty"`
	To     string   `json:"to,omitempty"` // of a copy
	Paths  [][]byte `json:"paths,omitempty"`
}

// sandboxedChanges does what is asked for.
func sandboxedChanges(in io.Reader, out io.Writer) int {
	e := changes.NewEncoder(out)
	if err := e.Close(answerChanges(in, e)); err != nil {
		return 1
	}
	return 0
}

func answerChanges(in io.Reader, e *changes.Encoder) error {
	var q ask
	if err := json.NewDecoder(in).Decode(&q); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	var lowers, paths []string
	for i := range q.Lowers {
		lowers = append(lowers, fmt.Sprint(insideLower, i))
	}
	wanted := map[string]bool{}
	for _, p := range q.Paths {
		paths = append(paths, string(p))
		wanted[string(p)] = true
	}
	upper := insideUpper
	if q.Held {
		upper = insideHeld
	}
	if q.What == askCopy {
		return changes.Copy(upper, q.To)
	}
	t, err := changes.Open(upper, lowers...)
	if err != nil {
		return err
	}
	defer t.Close()
	switch q.What {
	case askScan:
		return t.Scan(func(c *changes.Change, _ *changes.Source) error { return e.Change(c) })
	case askPatch:
		return t.Scan(func(c *changes.Change, s *changes.Source) error {
			if !changes.Selected(paths, c.Path) {
				return nil
			}
			if err := e.Change(c); err != nil {
				return err
			}
			return changes.Patch(e, c, s)
		})
	case askFetch:
		return t.Scan(func(c *changes.Change, s *changes.Source) error {
			if !wanted[c.Path] {
				return nil
			}
			return fetch(e, c, s)
		})
	case askDiscard:
		return t.Discard(paths)
	case askSettle:
		return t.Settle(paths)
	case askClear:
		return t.Clear()
	}
	return fmt.Errorf("asked for %q", q.What)
}

func fetch(e *changes.Encoder, c *changes.Change, s *changes.Source) error {
	if err := e.Change(c); err != nil || c.New == nil || c.New.Type != changes.File {
		return err
	}
	f, err := s.OpenNew()
	if err == nil {
		defer f.Close()
		err = e.Content(f)
	}
	if err != nil {
		return fmt.Errorf("reading %q: %w", c.Path, err)
	}
	return nil
}

// changer asks the sandboxed program about the overlays of one container.
type changer struct {
	self string
	c    *engine.Container
	// applied are the paths of each held overlay that the host has by now. They
	// are left out: nothing is taken from an upper that has no next run.
	applied map[int]map[string]bool
}

func newChanger(c *engine.Container) (*changer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding brig-image: %w", err)
	}
	return &changer{self: self, c: c, applied: map[int]map[string]bool{}}, nil
}

// spec is a sandbox with the directories of an overlay, the upper to write where
// something is taken back.
func (x *changer) spec(o *engine.Overlay, write, copies bool) (*sandbox.Spec, error) {
	p, _, err := policy.Load(policy.LoadOptions{
		Name: "unpack", Shipped: configs.FS, Files: os.DirFS("/"), SystemDir: "/etc/brig", Dir: "/", Compiled: compiled.Policy,
	})
	if err != nil {
		return nil, err
	}
	access := policy.ReadOnly
	if write {
		access = policy.ReadWrite
	}
	bind := func(source, target string, access policy.Access) policy.Mount {
		return policy.Mount{Type: policy.Bind, Source: source, Target: target, Access: access}
	}
	lower := policy.ReadOnly
	var owner *[2]uint32
	if os.Getuid() == 0 && o.Kind == engine.CowLayer {
		// As the job saw it, with its owner's files the job's: else each would have
		// another owner than what the job has made of it.
		if owner, err = x.c.JobOnHost(); err != nil {
			return nil, err
		}
		lower = policy.CopyOnWrite
	}
	mounts := append(slices.Clone(p.Filesystem.Mounts), program(x.self))
	if o.Held == nil {
		mounts = append(mounts, bind(o.Upper, insideUpper, access))
	}
	if copies {
		mounts = append(mounts, bind(x.c.Data(), insideData, policy.ReadWrite))
	}
	for i, dir := range o.Lower {
		mounts = append(mounts, bind(dir, fmt.Sprint(insideLower, i), lower))
	}
	p.Filesystem.Mounts = mounts
	p.Filesystem.AllowHome = true      // what the job was given, brig may read
	p.Limits.Output = policy.Unlimited // the stream has bounds of its own
	spec := sandbox.NewSpec(p, insideProgram, roleChanges)
	spec.Dir = "/"
	spec.Private = nil // the upper is in them
	spec.Filter = configs.Filter
	spec.Stored, spec.CowOwner = true, owner
	spec.Hand = o.Held
	return spec, nil
}

// errNeverRan is of overlays that have nothing to read yet.
var errNeverRan = errors.New("it has never run")

// hasRun tells whether an overlay has an upper.
func hasRun(o *engine.Overlay) bool {
	if o.Held != nil {
		return true
	}
	_, err := os.Lstat(o.Upper)
	return !errors.Is(err, os.ErrNotExist)
}

// ask has the sandboxed program answer, and hands its stream to read.
func (x *changer) ask(ctx context.Context, o *engine.Overlay, q ask, read func(*changes.Decoder) error) error {
	if !hasRun(o) {
		return errNeverRan
	}
	for _, dir := range o.Lower {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("%s, on which the container's layer lies, is not there any more\n  fix: put the directory back", safe(dir))
		}
	}
	q.Lowers, q.Held = len(o.Lower), o.Held != nil
	request, err := json.Marshal(q)
	if err != nil {
		return err
	}
	spec, err := x.spec(o, q.What == askDiscard || q.What == askSettle || q.What == askClear, q.What == askCopy)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, w := io.Pipe()
	var errs bytes.Buffer
	spec.Stdin, spec.Stdout, spec.Stderr = bytes.NewReader(request), w, &limited{buf: &errs}
	type ended struct {
		result *sandbox.Result
		err    error
	}
	done := make(chan ended, 1)
	go func() {
		result, err := sandbox.Run(ctx, spec)
		w.Close()
		done <- ended{result, err}
	}()
	readErr := read(changes.NewDecoder(r))
	if readErr != nil {
		cancel(readErr)
	}
	r.CloseWithError(io.ErrClosedPipe)
	e := <-done
	switch {
	case e.err != nil && readErr == nil, errors.Is(readErr, changes.ErrStream) && e.err != nil:
		return e.err
	case errors.Is(readErr, changes.ErrStream):
		detail := e.result.Message
		if text := strings.TrimSpace(errs.String()); text != "" {
			detail += ": " + text
		}
		return fmt.Errorf("%w: %s", readErr, safe(detail))
	}
	return readErr
}

// limited keeps the beginning of what is written to it.
type limited struct{ buf *bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if room := 1000 - l.buf.Len(); room > 0 {
		l.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// each visits the changes of an overlay that are the job's own: what brig makes
// anew for each run is left out.
func (x *changer) each(ctx context.Context, o *engine.Overlay, q ask, visit func(c *changes.Change, d *changes.Decoder) error) error {
	own, applied, whose := x.own(o), x.applied[o.Number], x.ownershipOf(o)
	err := x.ask(ctx, o, q, func(d *changes.Decoder) error {
		for {
			c, err := d.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if own[c.Path] || applied[c.Path] {
				continue
			}
			for _, job := range whose.jobs(c) {
				if q.What == askPatch && job != c {
					continue // a new directory has no part in one
				}
				if err := visit(job, d); err != nil {
					return err
				}
			}
		}
	})
	if errors.Is(err, errNeverRan) {
		return nil
	}
	return err
}

// own are the paths in an overlay that are brig's.
func (x *changer) own(o *engine.Overlay) map[string]bool {
	set := map[string]bool{}
	prefix := strings.TrimSuffix(o.Target, "/") + "/"
	for _, p := range x.c.Own {
		if rel, ok := strings.CutPrefix(p, prefix); ok {
			set[rel] = true
		}
	}
	return set
}

// do has something taken back.
func (x *changer) do(ctx context.Context, o *engine.Overlay, what string, paths []string) error {
	q := ask{What: what}
	for _, p := range paths {
		q.Paths = append(q.Paths, []byte(p))
	}
	return x.order(ctx, o, q)
}

// order asks for what has no answer.
func (x *changer) order(ctx context.Context, o *engine.Overlay, q ask) error {
	err := x.ask(ctx, o, q, func(d *changes.Decoder) error {
		_, err := d.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = changes.ErrStream
		}
		return err
	})
	if errors.Is(err, errNeverRan) {
		return nil
	}
	return err
}

// inside is a changed path as the job sees it.
func inside(o *engine.Overlay, p string) string { return strings.TrimSuffix(o.Target, "/") + "/" + p }

// onHost is a changed path of a cow as the host has it.
func onHost(o *engine.Overlay, p string) string { return strings.TrimSuffix(o.Source, "/") + "/" + p }
