package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WriteLayer records what is known of a prepared layer.
func (w *Work) WriteLayer(l *Layer) error {
	b, err := json.Marshal(l)
	if err == nil {
		err = writeNew(filepath.Join(w.Layer(l.DiffID), "layer.json"), b)
	}
	if err != nil {
		return fmt.Errorf("recording layer %s: %w", l.DiffID, err)
	}
	return nil
}

// writeNew writes a file that is not there yet. What unpacked the layer may write
// in its directory: a link of its making is not followed.
func writeNew(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

func readLayer(dir string) (*Layer, error) {
	b, err := ReadDocument(filepath.Join(dir, "layer.json"))
	if err != nil {
		return nil, err
	}
	var l Layer
	return &l, json.Unmarshal(b, &l)
}

// Layer reads what is known of an unpacked layer.
func (s *Store) Layer(mapName string, diffID Digest) (*Layer, error) {
	return readLayer(s.layerDir(mapName, diffID))
}

// Unpacked is what is known of an image's layers, bottom first: of the mapping
// for which all are there, and nothing where there is none.
func (s *Store) Unpacked(c *ConfigFile) []Layer {
	names, err := s.mapNames()
	if err != nil {
		return nil
	}
next:
	for _, name := range names {
		list := make([]Layer, 0, len(c.RootFS.DiffIDs))
		for _, d := range c.RootFS.DiffIDs {
			l, err := s.Layer(name, d)
			if err != nil {
				continue next
			}
			list = append(list, *l)
		}
		return list
	}
	return nil
}
