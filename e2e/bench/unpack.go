package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// What is unpacked: a layer of this many megabytes in files as a distribution
// has them, and how often by each tool.
const (
	unpackMB     = 500
	unpackRounds = 3
)

// unpacks measures the unpacking of an OCI layout beside umoci's, in turns. brig
// also copies and checks the blobs and syncs everything to the disk; umoci also
// writes an mtree manifest.
func (b bench) unpacks(r *report) error {
	if _, err := exec.LookPath("umoci"); err != nil {
		r.lacks = append(r.lacks, missing{"unpacking beside umoci", "umoci is not installed"})
		return nil
	}
	layout := filepath.Join(b.work, "layout")
	if err := writeLayout(layout, unpackMB); err != nil {
		return err
	}
	defer os.RemoveAll(layout)
	bundle := filepath.Join(b.work, "bundle")
	brig := &contender{name: "brig load", argv: []string{b.path("brig"), "load", "--quiet", "-i", layout}}
	umoci := &contender{name: "umoci unpack", argv: []string{"umoci", "unpack", "--rootless", "--image", layout + ":bench", bundle}}
	clean := map[*contender]func() error{
		brig:  func() error { return exec.Command(b.path("brig"), "prune", "--all").Run() },
		umoci: func() error { return removeTree(bundle) },
	}
	for round := range unpackRounds {
		for i := range 2 {
			c := []*contender{brig, umoci}[(i+round)%2]
			// What the other has left to be written is not this one's to wait for.
			unix.Sync()
			begin := time.Now()
			if out, err := exec.Command(c.argv[0], c.argv[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", c.name, err, out)
			}
			c.took = append(c.took, time.Since(begin))
			if err := clean[c](); err != nil {
				return fmt.Errorf("removing what %s unpacked: %w", c.name, err)
			}
		}
	}
	r.groups = append(r.groups, group{fmt.Sprintf("unpacking an image of %d MB", unpackMB), []*contender{brig, umoci}, umoci})
	r.checks = append(r.checks, check{"unpacking / umoci's", ratio(brig, umoci), "×", 1, 0.5, ""})
	return nil
}

// removeTree removes a tree in which directories may not be writable.
func removeTree(dir string) error {
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(name, 0o700) //nolint:gosec // to empty it
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}

// writeLayout makes an OCI layout with one image, "bench".
func writeLayout(dir string, megabytes int) error {
	blobs := filepath.Join(dir, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil { //nolint:gosec // as other tools make it
		return err
	}
	part := filepath.Join(blobs, "part")
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	plain, packed := sha256.New(), sha256.New()
	z, err := gzip.NewWriterLevel(io.MultiWriter(f, packed), gzip.BestSpeed)
	if err != nil {
		return err
	}
	err = distribution(io.MultiWriter(z, plain), megabytes)
	if err = errors.Join(err, z.Close(), f.Close()); err != nil {
		return err
	}
	info, err := os.Stat(part)
	if err != nil {
		return err
	}
	type object = map[string]any
	digest := func(sum []byte) string { return fmt.Sprintf("sha256:%x", sum) }
	if err := os.Rename(part, filepath.Join(blobs, fmt.Sprintf("%x", packed.Sum(nil)))); err != nil {
		return err
	}
	document := func(name, mediaType string, v any) object {
		text, merr := json.Marshal(v)
		sum := sha256.Sum256(text)
		if name == "" {
			name = "blobs/sha256/" + fmt.Sprintf("%x", sum)
		}
		err = errors.Join(err, merr, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		return object{"mediaType": mediaType, "digest": digest(sum[:]), "size": len(text)}
	}
	const oci = "application/vnd.oci.image."
	config := document("", oci+"config.v1+json", object{
		"os": "linux", "architecture": runtime.GOARCH, "config": object{},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest(plain.Sum(nil))}},
	})
	manifest := document("", oci+"manifest.v1+json", object{
		"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": config,
		"layers": []object{{"mediaType": oci + "layer.v1.tar+gzip", "digest": digest(packed.Sum(nil)), "size": info.Size()}},
	})
	manifest["annotations"] = object{"org.opencontainers.image.ref.name": "bench"}
	document("index.json", "", object{"schemaVersion": 2, "manifests": []object{manifest}})
	document("oci-layout", "", object{"imageLayoutVersion": "1.0.0"})
	return err
}

// distribution writes an archive of files of 1 to 200 kB, fifty to a directory,
// which compress to about a third.
func distribution(w io.Writer, megabytes int) error {
	t := tar.NewWriter(w)
	random := rand.New(rand.NewPCG(1, 2))
	// Words, some much more often than others, as in texts and programs.
	words := make([]string, 8000)
	for i := range words {
		word := make([]byte, 2+random.IntN(9))
		for k := range word {
			word[k] = byte('a' + random.IntN(26))
		}
		words[i] = string(word) + " "
	}
	noise := make([]byte, 0, 4<<20)
	for len(noise) < cap(noise)-16 {
		noise = append(noise, words[random.IntN(1+random.IntN(1+random.IntN(len(words))))]...)
	}
	left := megabytes << 20
	for n := 0; left > 0; n++ {
		size := min(left, 1000+random.IntN(200_000)*random.IntN(200_000)/200_000)
		from := random.IntN(len(noise) - size)
		err := t.WriteHeader(&tar.Header{Name: fmt.Sprintf("usr/%d/%d", n/50, n), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(size), ModTime: time.Unix(1e9, 0)})
		if err == nil {
			_, err = t.Write(noise[from : from+size])
		}
		if err != nil {
			return err
		}
		left -= size
	}
	return t.Close()
}
