package imagecmd

import (
	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// Run does what a command line says.
type Run func(cmd *cobra.Command, args []string) error

// Command is one of the commands; Build constructs it only where it is needed.
type Command struct {
	Name  string
	Build func(run Run) *cobra.Command
}

// Commands are the commands in the order of the help text.
func Commands() []Command {
	return []Command{
		{"pull", pull},
		{"push", push},
		{"load", load},
		{"import", importCommand},
		{"save", save},
		{"images", images},
		{"tag", tag},
		{"rmi", rmi},
		{"history", history},
		{"inspect", inspect},
		{"ps", ps},
		{"rm", rm},
		{"commit", commit},
		{"export", export},
		{"prune", prune},
		{"diff", diff},
		{"apply", apply},
		{"discard", discard},
		{"review", review},
		{"system", system},
	}
}

const formatUsage = "json, or a Go template for each entry: '{{.ID}}'"

func load(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load [-i FILE]",
		Short: "Take images in from an archive",
		Long: `Take in the images of an archive that docker save, podman save, skopeo or
buildah wrote, of an OCI archive, or of a directory with an OCI layout. The
archive may be compressed with gzip or zstd, and may come from standard input.

Every digest is checked. Layers are unpacked in a sandbox of their own (brig
policy show unpack), with limits on what one may become. What brig cannot keep
is said: devices, file capabilities, and owners where the user has no
subordinate ids.`,
		Example: `  brig load -i debian.tar
  docker save debian:12 | brig load`,
		Args: cobra.NoArgs,
		RunE: run,
	}
	cmd.Flags().StringP("input", "i", "-", "archive or OCI layout; - is standard input")
	cmd.Flags().BoolP("quiet", "q", false, "print ids alone, and no notes")
	limits(cmd)
	return cmd
}

func limits(cmd *cobra.Command) {
	d := image.Limits{}.WithDefaults()
	cmd.Flags().String("max-size", "32GiB", "size that a layer's files may have together")
	cmd.Flags().Int64("max-files", d.Files, "files that a layer may have")
}

func importCommand(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [flags] FILE|- [NAME[:TAG]]",
		Short: "Make an image of a root file system's archive",
		Example: `  mmdebstrap --variant=apt bookworm | brig import - debian:12
  brig import -c 'CMD ["/bin/sh"]' -c 'ENV LANG=C.UTF-8' rootfs.tar.zst mine`,
		Args: cobra.RangeArgs(1, 2),
		RunE: run,
	}
	cmd.Flags().StringArrayP("change", "c", nil, "apply an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR")
	cmd.Flags().StringP("message", "m", "", "comment for the history")
	cmd.Flags().BoolP("quiet", "q", false, "print no notes")
	limits(cmd)
	return cmd
}

func save(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "save [flags] IMAGE...",
		Short:   "Write images into an archive",
		Example: "  brig save -o debian.tar debian:12\n  brig save --format docker-archive debian:12 | docker load",
		Args:    cobra.MinimumNArgs(1),
		RunE:    run,
	}
	cmd.Flags().StringP("output", "o", "-", "file to write; - is standard output")
	cmd.Flags().String("format", "oci-archive", "oci-archive or docker-archive")
	return cmd
}

func images(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "images [flags] [NAME[:TAG]]",
		Short:   "List images",
		Example: "  brig images\n  brig images --format '{{.Repository}}:{{.Tag}} {{.Size}}'",
		Args:    cobra.MaximumNArgs(1),
		RunE:    run,
	}
	cmd.Flags().BoolP("quiet", "q", false, "print ids alone")
	cmd.Flags().Bool("digests", false, "show the manifests' digests")
	cmd.Flags().Bool("no-trunc", false, "print ids in full length")
	cmd.Flags().String("format", "", formatUsage)
	return cmd
}

func tag(run Run) *cobra.Command {
	return &cobra.Command{
		Use: "tag IMAGE NAME[:TAG]", Short: "Give an image one more name",
		Example: "  brig tag debian:12 mine:base", Args: cobra.ExactArgs(2), RunE: run,
	}
}

func rmi(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rmi [flags] IMAGE...", Short: "Remove images, or names of them",
		Example: "  brig rmi debian:12", Args: cobra.MinimumNArgs(1), RunE: run,
	}
	cmd.Flags().BoolP("force", "f", false, "also images with several names, or in use")
	return cmd
}

func history(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use: "history [flags] IMAGE", Short: "Show how an image was made",
		Example: "  brig history debian:12", Args: cobra.ExactArgs(1), RunE: run,
	}
	cmd.Flags().Bool("no-trunc", false, "print ids and commands in full length")
	cmd.Flags().BoolP("quiet", "q", false, "print ids alone")
	cmd.Flags().String("format", "", formatUsage)
	return cmd
}

func inspect(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect [flags] NAME...", Short: "Show everything about images and containers as JSON",
		Example: "  brig inspect debian:12\n  brig inspect -f '{{.Config.Cmd}}' debian:12\n  brig inspect --type container -f '{{.State.ExitCode}}' fix", Args: cobra.MinimumNArgs(1), RunE: run,
	}
	cmd.Flags().String("type", "", "image or container (default: an image, else a container)")
	cmd.Flags().StringP("format", "f", "json", formatUsage)
	return cmd
}

func prune(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use: "prune [flags]", Short: "Remove images without a name",
		Example: "  brig prune\n  brig prune --all --containers", Args: cobra.NoArgs, RunE: run,
	}
	cmd.Flags().BoolP("all", "a", false, "every image that no sandbox uses and no container was made of, named or not")
	cmd.Flags().Bool("containers", false, "first remove the containers that do not run, with what they have kept")
	return cmd
}

func system(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use: "system", Short: "The space that images take, and whether they are whole",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	df := &cobra.Command{
		Use: "df", Short: "Show the space that images take",
		Example: "  brig system df", Args: cobra.NoArgs, RunE: run,
	}
	df.Flags().String("format", "", formatUsage)
	unpack := &cobra.Command{
		Use: "unpack [flags] IMAGE...", Short: "Unpack images for one more mapping, ahead of a run",
		Long: `Unpack the layers of images once more, with the owners that another mapping
gives them: for --userns isolated, which the policy judge has, or for keep-id with
a job that is not root and is given directories to write, as under the policies
compile, ci and dev. The first such run of an image does it by itself. Layers that
are unpacked already stay as they are; brig rmi and brig prune remove all.`,
		Example: "  brig system unpack debian:12\n  brig system unpack --userns keep-id --uid 1000 debian:12", Args: cobra.MinimumNArgs(1), RunE: run,
	}
	unpack.Flags().String("userns", "isolated", "isolated or keep-id")
	unpack.Flags().Uint32("uid", 1000, "with keep-id: the id that the caller and the job have inside")
	check := &cobra.Command{
		Use: "check", Short: "Find what a kill, a full disk or a bad one left in the image store",
		Long: `Read every blob and compare it with its digest, and look for images that lack
something, for layers that are not unpacked and for what killed commands left.
The exit code is 1 where something was found. With --repair damaged images are
removed, layers are unpacked again and leftovers go.`,
		Example: "  brig system check\n  brig system check --repair", Args: cobra.NoArgs, RunE: run,
	}
	check.Flags().Bool("repair", false, "mend what can be mended, and remove the rest")
	cmd.AddCommand(df, unpack, check)
	return cmd
}
