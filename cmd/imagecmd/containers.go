package imagecmd

import "github.com/spf13/cobra"

func ps(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ps [flags]", Short: "List containers",
		Long: `List the containers that brig run --keep left: those that run, and with --all
those that have ended. A container is dead where its brig was killed: its layers
are as the command left them, and it can be started, committed and removed.`,
		Example: "  brig ps -a\n  brig ps -aq\n  brig ps -a --format '{{.Names}}: {{.Status}}'", Args: cobra.NoArgs, RunE: run,
	}
	cmd.Flags().BoolP("all", "a", false, "also containers that do not run")
	cmd.Flags().BoolP("quiet", "q", false, "print ids alone")
	cmd.Flags().BoolP("size", "s", false, "show the space that their layers take")
	cmd.Flags().Bool("no-trunc", false, "print ids and commands in full length")
	cmd.Flags().String("format", "", formatUsage)
	return cmd
}

func rm(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm [flags] CONTAINER...", Short: "Remove containers with all that they have kept",
		Example: "  brig rm fix\n  brig rm -f $(brig ps -aq)", Args: cobra.MinimumNArgs(1), RunE: run,
	}
	cmd.Flags().BoolP("force", "f", false, "also a container that runs, which is ended first")
	return cmd
}

func commit(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "commit [flags] CONTAINER [IMAGE[:TAG]]",
		Short: "Make an image of what a container changed",
		Long: `Make an image of a container's image and, as a layer on top, of what the
container's runs changed in its root file system. Directories that were given to
it are not in it, and neither are brig's own files: host name, hosts, resolv.conf,
mtab, and what lies below /dev, /proc and /sys.

The image is run as the one below it, unless --change says otherwise. The
container must not run meanwhile, and stays.`,
		Example: `  brig commit fix me/debian:edited
  brig commit -c 'CMD ["nginx", "-g", "daemon off;"]' -m 'with nginx' web me/web`,
		Args: cobra.RangeArgs(1, 2),
		RunE: run,
	}
	cmd.Flags().StringArrayP("change", "c", nil, "apply an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR")
	cmd.Flags().StringP("message", "m", "", "comment for the history")
	cmd.Flags().StringP("author", "a", "", "author, such as 'Ada <ada@example.org>'")
	cmd.Flags().BoolP("quiet", "q", false, "print no notes")
	return cmd
}

func export(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use: "export [flags] CONTAINER|IMAGE", Short: "Write the root file system of a container, or an image, as an archive",
		Long: `Write the root file system of a container, with what its runs changed, as a plain
archive of one tree; of an image where no container has the name. brig's own files
are not in it, nor directories that were given to the container.`,
		Example: "  brig export -o rootfs.tar fix\n  brig export fix | brig import - flat:1", Args: cobra.ExactArgs(1), RunE: run,
	}
	cmd.Flags().StringP("output", "o", "-", "file to write; - is standard output")
	return cmd
}
