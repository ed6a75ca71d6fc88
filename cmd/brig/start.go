package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/engine"
	"github.com/brig-sandbox/brig/sandbox/image"
)

func newStartCommand() *cobra.Command {
	f := &runFlags{keep: true}
	attach := true
	cmd := &cobra.Command{
		Use:   "start [flags] CONTAINER",
		Short: "Run a kept container's command again, on its layers",
		Long: `Run the command of a container that brig run --keep left, under the same policy
and on the same layers: it finds what the runs before it changed. brig waits for
its end, and the exit code is that of brig run.

The layers of directories given copy-on-write lie on the directories as they are
now. Files that were copied into a layer are not copied again. The limit on the
scratch counts what earlier runs left.`,
		Example: `  brig start fix
  brig start -i shell
  brig start --result r.json --attach=false fix`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { f.noOutput = !attach; return start(cmd, f, args[0]) },
	}
	fl := someFlags{cmd.Flags(), nil}
	f.flags = fl.FlagSet
	fl.SortFlags = false
	fl.BoolVarP(&attach, "attach", "a", true, "show what the command prints; with --attach=false its name when it has ended")
	f.registerStreams(fl)
	f.registerReports(fl)
	return cmd
}

// start is `brig start`.
func start(cmd *cobra.Command, f *runFlags, ref string) error {
	if err := enoughFiles(); err != nil {
		return err
	}
	if err := f.logging(); err != nil {
		return err
	}
	store, err := engine.OpenDefault()
	if err != nil {
		return err
	}
	c, err := store.Find(ref)
	if err != nil {
		return err
	}
	release, err := c.Lock(engine.Exclusive)
	if err != nil {
		return err
	}
	defer release()
	spec, letGo, err := containerSpec(c)
	if err != nil {
		return err
	}
	defer letGo()
	f.tty = c.Job.Terminal
	f.kept = c
	err = f.carryOut(cmd, spec, func() error { return nil })
	if f.noOutput && c.Run != nil {
		fmt.Fprintln(cmd.OutOrStdout(), c.Name)
	}
	return err
}

// containerSpec is the spec of a container's next run, with its image held.
func containerSpec(c *engine.Container) (spec *sandbox.Spec, release func(), err error) {
	if spec, err = c.Spec(); err != nil {
		return nil, nil, err
	}
	release = func() {}
	if c.Image != nil {
		store, err := image.OpenDefault()
		if err != nil {
			return nil, nil, err
		}
		found, err := image.OpenDigest(store, image.Digest(c.Image.Manifest), c.Image.Map)
		if err == nil {
			release, err = found.Hold()
		}
		if errors.Is(err, image.ErrNotFound) {
			err = fmt.Errorf("container %s: its image %s is gone: %w", c.Name, sandbox.SafeText(c.Image.Ref), err)
		}
		if err != nil {
			return nil, nil, err
		}
		spec.Layers, spec.LayerMap = found.Layers(), layerMap(found)
		spec.KeepAs = c.KeepAs()
	}
	spec.Filter = configs.Filter
	c.Keep(spec)
	return spec, release, nil
}
