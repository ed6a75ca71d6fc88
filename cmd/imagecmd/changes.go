package imagecmd

import "github.com/spf13/cobra"

const pathsHelp = `
A PATH selects what is at it and below. One that begins with / is a path inside
the container; any other is one of the host, in a directory that was given
copy-on-write.`

func diff(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff [flags] CONTAINER [PATH...]",
		Short: "Show what a kept container changed",
		Long: `Show what a job changed in its root file system, where that is an image or a
directory, and in directories that were given copy-on-write: A is added, C
changed, D deleted. A directory that was added or deleted is one line; --all
shows what is in it. Touching a file, or writing the same into it, is no change.

--patch prints what git apply and patch -p1 take, with the names relative to the
directory. Empty directories have no place in one; what is binary, larger than
1 MiB or no file is named and left out.

Names are printed so that they cannot steer a terminal: --null has them as they
are, and --json too, one that is not UTF-8 as {"base64": "..."}.
` + pathsHelp,
		Example: `  brig diff fix
  brig diff --long fix /work/src
  brig diff --patch fix | git apply --check`,
		Args: cobra.MinimumNArgs(1),
		RunE: run,
	}
	fl := cmd.Flags()
	fl.BoolP("long", "l", false, "show types, modes, sizes and what is different")
	fl.BoolP("all", "a", false, "show what is in added and deleted directories")
	fl.BoolP("patch", "p", false, "show the changes of text files")
	fl.Bool("json", false, "print JSON")
	fl.BoolP("null", "z", false, "print names as they are, and end each line with a zero byte")
	cmd.MarkFlagsMutuallyExclusive("long", "patch", "json", "null")
	return cmd
}

func apply(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply [flags] CONTAINER [PATH...]",
		Short: "Bring a kept container's changes to the host",
		Long: `Bring what a job changed in directories that were given copy-on-write to these
directories of the host. Each file is written beside its place and then put
there in one step, with your own rights. Symbolic links are made and never
followed, and one that leads out of the directory is shown. Set-uid and set-gid
bits are not brought along, nor are owners; devices, FIFOs and sockets are
refused. What is made is yours; called by root it belongs to the directory's
owner, or to that of the file it replaces where the job left that alone.

What the host has changed itself since the job first ran (inode, size, mode, or
a time is another) is a conflict: it stays as it is, the other changes are
applied, and the exit code is 1. With --force the job's changes replace it.

An apply that was interrupted is continued by the next one. What was applied is
no difference any more, and goes from the container's layer.
` + pathsHelp,
		Example: `  brig apply --dry-run fix
  brig apply fix
  brig apply fix src/main.c
  brig apply -i fix`,
		Args: cobra.MinimumNArgs(1),
		RunE: run,
	}
	fl := cmd.Flags()
	fl.BoolP("interactive", "i", false, "ask for each change")
	fl.BoolP("dry-run", "n", false, "show what would be done, and change nothing")
	fl.BoolP("force", "f", false, "replace also what the host has changed itself")
	return cmd
}

func discard(run Run) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "discard [flags] CONTAINER [PATH...]",
		Short: "Throw a kept container's changes away",
		Long: `Take back what a job changed: with paths what is at them, else everything, in its
root file system as well. The container stays, and finds the files as they were.
` + pathsHelp,
		Example: `  brig discard fix
  brig discard fix /work/build /etc/motd`,
		Args: cobra.MinimumNArgs(1),
		RunE: run,
	}
	cmd.Flags().BoolP("dry-run", "n", false, "show what would be thrown away, and change nothing")
	return cmd
}

// review is what brig run --review ends with.
func review(run Run) *cobra.Command {
	return &cobra.Command{
		Use: "review CONTAINER", Short: "Show what a container changed, and ask what becomes of it",
		Example: "  brig review fix", Hidden: true, Args: cobra.ExactArgs(1), RunE: run,
	}
}
