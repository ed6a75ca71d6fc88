package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/archive"
)

// options reads the flags that load and import share.
func options(cmd *cobra.Command) (*archive.Options, error) {
	u, err := newUnpacker()
	if err != nil {
		return nil, err
	}
	text, _ := cmd.Flags().GetString("max-size")
	bytes, err := policy.ParseSize(text)
	if err != nil || bytes <= 0 {
		return nil, fmt.Errorf("--max-size %q is not a size\n  fix: write 64GiB, for example", text)
	}
	files, _ := cmd.Flags().GetInt64("max-files")
	if files <= 0 {
		return nil, fmt.Errorf("--max-files %d\n  fix: give a number above 0", files)
	}
	o := &archive.Options{Unpacker: u, Limits: image.Limits{Bytes: int64(bytes), Files: files}}
	if quiet, _ := cmd.Flags().GetBool("quiet"); !quiet {
		if u.Map() == image.Single {
			fmt.Fprintln(cmd.ErrOrStderr(), "brig: note: there are no subordinate ids here (see brig doctor): all files will belong to root inside")
		}
		o.Note = func(note string) { fmt.Fprintf(cmd.ErrOrStderr(), "brig: note: %s\n", safe(note)) }
	}
	return o, nil
}

func runLoad(cmd *cobra.Command, _ []string) error {
	name, _ := cmd.Flags().GetString("input")
	quiet, _ := cmd.Flags().GetBool("quiet")
	s, err := openImages()
	if err != nil {
		return err
	}
	var list []archive.Loaded
	in, dir, err := openInput(name)
	if err != nil {
		return err
	}
	defer in.Close()
	o, err := options(cmd)
	if err != nil {
		return err
	}
	if dir {
		list, err = archive.LoadDir(cmd.Context(), s, name, o)
	} else {
		list, err = archive.Load(cmd.Context(), s, interruptible{cmd.Context(), in}, o)
	}
	for _, l := range list {
		switch {
		case quiet:
			fmt.Fprintln(cmd.OutOrStdout(), l.ID)
		case len(l.Names) == 0:
			fmt.Fprintf(cmd.OutOrStdout(), "Loaded image ID: %s\n", l.ID)
		}
		for _, n := range l.Names {
			if !quiet {
				fmt.Fprintf(cmd.OutOrStdout(), "Loaded image: %s\n", n.Familiar())
			}
		}
	}
	if err != nil {
		return fmt.Errorf("loading %s: %w", inputName(name), err)
	}
	return nil
}

func inputName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// openInput opens an archive, and tells whether it is a directory.
func openInput(name string) (*os.File, bool, error) {
	if name == "-" {
		if isTerminal(os.Stdin) {
			return nil, false, fmt.Errorf("standard input is a terminal\n  fix: name a file, or redirect one here")
		}
		return os.Stdin, false, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, false, err
	}
	return f, info.IsDir(), nil
}

// interruptible reads a file that may be a pipe with nothing in it, for a
// context that may end meanwhile.
type interruptible struct {
	ctx context.Context
	f   *os.File
}

// pollWait is how long a signal may go unnoticed, in milliseconds.
const pollWait = 100

func (i interruptible) Read(b []byte) (int, error) {
	for {
		if i.ctx.Err() != nil {
			return 0, context.Cause(i.ctx)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(i.f.Fd()), Events: unix.POLLIN}}, pollWait)
		if n == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		return i.f.Read(b)
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func runImport(cmd *cobra.Command, args []string) error {
	var names []image.Name
	if len(args) == 2 {
		n, err := image.ParseName(args[1])
		if err != nil {
			return err
		}
		if n.Digest != "" {
			return fmt.Errorf("%s: a digest cannot be given: it follows from the image", args[1])
		}
		names = append(names, n)
	}
	in := &archive.ImportOptions{Created: time.Now()}
	in.Message, _ = cmd.Flags().GetString("message")
	changes, _ := cmd.Flags().GetStringArray("change")
	for _, c := range changes {
		if err := change(&in.Config, c); err != nil {
			return fmt.Errorf("--change %q: %w", c, err)
		}
	}
	f, dir, err := openInput(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if dir {
		return fmt.Errorf("%s is a directory\n  fix: tar -C %s -c . | brig import - NAME", args[0], args[0])
	}
	s, err := openImages()
	if err != nil {
		return err
	}
	o, err := options(cmd)
	if err != nil {
		return err
	}
	l, err := archive.Import(cmd.Context(), s, interruptible{cmd.Context(), f}, names, in, o)
	if err != nil {
		return fmt.Errorf("importing %s: %w", inputName(args[0]), err)
	}
	fmt.Fprintln(cmd.OutOrStdout(), l.ID)
	return nil
}

func runSave(cmd *cobra.Command, args []string) (err error) {
	s, err := openImages()
	if err != nil {
		return err
	}
	format, _ := cmd.Flags().GetString("format")
	if !slices.Contains([]string{archive.FormatOCI, archive.FormatDocker}, format) {
		return fmt.Errorf("--format %q\n  fix: use %s or %s", format, archive.FormatOCI, archive.FormatDocker)
	}
	name, _ := cmd.Flags().GetString("output")
	if name == "-" {
		if isTerminal(os.Stdout) {
			return fmt.Errorf("standard output is a terminal\n  fix: name a file with -o, or redirect one here")
		}
		return archive.Save(s, os.Stdout, format, args)
	}
	return saveFile(name, func(w io.Writer) error { return archive.Save(s, w, format, args) })
}

// saveFile writes a file beside its name first, so that what was there is
// either still there or replaced whole.
func saveFile(name string, write func(io.Writer) error) error {
	part := fmt.Sprintf("%s.part-%d", name, os.Getpid())
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o666)
	if err != nil {
		return err
	}
	defer os.Remove(part) // gone already where all went well
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(part, name)
}
