package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/engine"
)

var psColumns = []column{
	{"ID", "CONTAINER ID"},
	{"Image", "IMAGE"},
	{"Command", "COMMAND"},
	{"CreatedAt", "CREATED AT"},
	{"CreatedSince", "CREATED"},
	{"Status", "STATUS"},
	{"State", "STATE"},
	{"ExitCode", "EXIT CODE"},
	{"Names", "NAMES"},
	{"Size", "SIZE"},
}

func runPs(cmd *cobra.Command, _ []string) error {
	store, err := engine.OpenDefault()
	if err != nil {
		return err
	}
	all, _ := cmd.Flags().GetBool("all")
	quiet, _ := cmd.Flags().GetBool("quiet")
	full, _ := cmd.Flags().GetBool("no-trunc")
	sized, _ := cmd.Flags().GetBool("size")
	format, _ := cmd.Flags().GetString("format")
	list, lerr := store.List()
	var u *unpacker
	if sized {
		if u, err = newUnpacker(); err != nil {
			return err
		}
	}
	var rows []row
	for _, c := range list {
		if c.State() != engine.Running && !all {
			continue
		}
		r := containerRow(c, full)
		if sized {
			n, err := u.containerSize(cmd.Context(), c)
			if err != nil {
				return err
			}
			r["Size"] = size(n)
		}
		if quiet {
			fmt.Fprintln(cmd.OutOrStdout(), r["ID"])
			continue
		}
		rows = append(rows, r)
	}
	if quiet {
		return lerr
	}
	shown := []string{"ID", "Image", "Command", "CreatedSince", "Status", "Names"}
	if sized {
		shown = append(shown, "Size")
	}
	return errors.Join(printRows(cmd.OutOrStdout(), format, psColumns, shown, rows), lerr)
}

func containerRow(c *engine.Container, full bool) row {
	command := safe(strings.Join(engine.Strings(c.Job.Args), " "))
	r := row{
		"ID": c.Short(), "Image": safe(c.Root), "Command": command, "CreatedAt": c.Created.Format(time.RFC3339),
		"CreatedSince": ago(&c.Created, time.Now()), "Status": status(c), "State": string(c.State()), "ExitCode": "",
		"Names": c.Name, "Size": "",
	}
	if c.Image != nil {
		r["Image"] = safe(c.Image.Ref)
	}
	if c.Run != nil && !c.Run.Finished.IsZero() {
		r["ExitCode"] = fmt.Sprint(c.Run.ExitCode)
	}
	if full {
		r["ID"] = c.ID
	} else if runes := []rune(command); len(runes) > 30 {
		r["Command"] = string(runes[:29]) + "…"
	}
	return r
}

// status says what a container does, as docker ps does.
func status(c *engine.Container) string {
	switch c.State() {
	case engine.Running:
		return "Up " + strings.TrimSuffix(ago(&c.Run.Started, time.Now()), " ago")
	case engine.Exited:
		return fmt.Sprintf("Exited (%d) %s", c.Run.ExitCode, ago(&c.Run.Finished, time.Now()))
	case engine.Dead:
		return "Dead"
	case engine.Created:
	}
	return "Created"
}

// containerSize is the space that a container's layers occupy.
func (u *unpacker) containerSize(ctx context.Context, c *engine.Container) (int64, error) {
	spec, err := u.spec(c.Data(), roleSize, insideDir)
	if err != nil {
		return 0, err
	}
	last := &spec.Policy.Filesystem.Mounts[len(spec.Policy.Filesystem.Mounts)-1]
	last.Access = policy.ReadOnly
	if c.IDs.Map != "" {
		spec.Policy.User.Map = policy.UserMap(c.IDs.Map)
	}
	spec.Policy.Limits.OpenFiles = openFiles()
	report, err := u.run(ctx, spec)
	if err != nil {
		return 0, fmt.Errorf("container %s: %w", c.Name, err)
	}
	if report == nil {
		return 0, fmt.Errorf("container %s: the sandboxed part of brig said nothing", c.Name)
	}
	return report.Bytes, nil
}

func runRm(cmd *cobra.Command, args []string) error {
	store, err := engine.OpenDefault()
	if err != nil {
		return err
	}
	force, _ := cmd.Flags().GetBool("force")
	errs := []error{sweep(cmd.Context(), store)}
	for _, ref := range args {
		err := removeContainer(cmd.Context(), store, ref, force)
		if err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), ref)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func removeContainer(ctx context.Context, store *engine.Store, ref string, force bool) error {
	c, err := store.Find(ref)
	if err != nil {
		return err
	}
	if force {
		if err := c.End(ctx); err != nil {
			return err
		}
	}
	release, err := c.Lock(engine.Exclusive)
	if err != nil {
		return err
	}
	if err := endApplies(c); err != nil {
		release()
		return err
	}
	// What is begun is done: a signal leaves no half of a container.
	return c.Remove(context.WithoutCancel(ctx))
}

// pruneContainers removes every container that does not run.
func pruneContainers(cmd *cobra.Command, store *engine.Store) error {
	list, err := store.List()
	errs := []error{err, sweep(cmd.Context(), store)}
	for _, c := range list {
		release, err := c.Lock(engine.Exclusive)
		if errors.Is(err, engine.ErrBusy) || errors.Is(err, engine.ErrNotFound) {
			continue
		}
		if err == nil {
			if err = endApplies(c); err != nil {
				release()
			} else {
				err = c.Remove(context.WithoutCancel(cmd.Context()))
			}
		}
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Deleted container: %s\n", c.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// rootOverlay is a container's overlay for its root.
func rootOverlay(c *engine.Container) (engine.Overlay, bool) {
	list := c.Overlays()
	i := slices.IndexFunc(list, func(o engine.Overlay) bool { return o.Kind == engine.RootLayer })
	if i < 0 {
		return engine.Overlay{}, false
	}
	return list[i], true
}

// inspectedContainer is a container as brig inspect shows one.
type inspectedContainer struct {
	ID       string `json:"Id"`
	Name     string
	Created  time.Time
	State    inspectedState
	Root     string
	Image    *engine.ImageRef `json:",omitempty"`
	Policy   string
	Job      engine.Job
	IDs      any
	Overlays []engine.Overlay
	Dir      string
}

type inspectedState struct {
	Status     engine.State
	Running    bool
	ExitCode   int
	Outcome    string
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
}

func inspectContainer(c *engine.Container) *inspectedContainer {
	i := &inspectedContainer{
		ID: c.ID, Name: c.Name, Created: c.Created, Root: c.Root, Image: c.Image, Policy: c.Policy, Job: c.Job, IDs: c.IDs,
		Overlays: c.Overlays(), Dir: c.Dir(), State: inspectedState{Status: c.State()},
	}
	if r := c.Run; r != nil {
		i.State.Running = i.State.Status == engine.Running
		i.State.ExitCode, i.State.Outcome, i.State.Error, i.State.StartedAt, i.State.FinishedAt = r.ExitCode, r.Outcome, r.Message, r.Started, r.Finished
	}
	return i
}
