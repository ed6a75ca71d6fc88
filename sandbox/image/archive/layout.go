package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// streamLayout writes an OCI layout as the archive that it would be.
func streamLayout(w io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	tw := tar.NewWriter(w)
	names := []string{"index.json"}
	if _, err := root.Lstat("index.json"); err != nil {
		names = []string{"manifest.json"} // a docker archive that was taken apart
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && name != names[0] {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	for _, name := range names {
		f, err := root.Open(filepath.FromSlash(name))
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = addFile(tw, name, info.Size(), f)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("reading %s: %w", dir, err)
		}
	}
	return tw.Close()
}

// addFile adds one file. Its time is that of nothing, so that the same images
// make the same archive.
func addFile(tw *tar.Writer, name string, size int64, r io.Reader) error {
	err := tw.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
	if err != nil {
		return err
	}
	n, err := io.Copy(tw, io.LimitReader(r, size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
