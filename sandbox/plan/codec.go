package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Decode reads a plan from JSON, as Encode writes it, and checks it. Unknown
// fields and trailing bytes are errors.
func Decode(data []byte) (*Plan, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var p Plan
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("plan: bytes after its end")
	}
	if err := Check(&p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return &p, nil
}

// Encode writes the plan as JSON.
func Encode(p *Plan) ([]byte, error) { return json.MarshalIndent(p, "", "  ") }

// Digest is "sha256:" and the hexadecimal SHA-256 of the plan's text form.
func (p *Plan) Digest() string {
	sum := sha256.Sum256(p.AppendText(nil))
	return "sha256:" + hex.EncodeToString(sum[:])
}
