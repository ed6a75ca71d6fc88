package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Encode writes the host as JSON, so that plans can be made for it elsewhere.
func Encode(h *Host) ([]byte, error) {
	data, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	return append(data, '\n'), nil
}

// Decode reads a host from JSON, as Encode writes it. Unknown fields and
// trailing bytes are errors.
func Decode(data []byte) (*Host, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var h Host
	if err := dec.Decode(&h); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("host: bytes after its end")
	}
	return &h, nil
}
