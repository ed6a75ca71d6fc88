package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
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

// Encode writes the plan as JSON. Paths and arguments may be any bytes, but
// JSON holds text only: a plan with a string that is not UTF-8 is an error
// rather than another plan.
func Encode(p *Plan) ([]byte, error) {
	for i := range p.Ops {
		op := &p.Ops[i]
		for _, s := range slices.Concat([]string{op.Source, op.Target, op.Data}, op.Names, op.Write) {
			if !utf8.ValidString(s) {
				return nil, fmt.Errorf("plan: op %d (%s): %q is not UTF-8 and has no form in JSON: use the text form", i+1, op.Kind, s)
			}
		}
	}
	return json.MarshalIndent(p, "", "  ")
}

// Digest is "sha256:" and the hexadecimal SHA-256 of the plan's text form. It
// covers what is done, not the device and inode numbers that sources happened
// to have: the same job in a fresh checkout has the same digest.
func (p *Plan) Digest() string {
	sum := sha256.Sum256(p.AppendText(nil))
	return "sha256:" + hex.EncodeToString(sum[:])
}
