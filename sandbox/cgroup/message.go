package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The types of a message and the fields of its header that matter here, by the
// numbers of the D-Bus specification.
const (
	kindCall   = 1
	kindReturn = 2
	kindError  = 3
	kindSignal = 4

	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
)

// maxMessage bounds what is taken from the other side; the specification's own
// bound is 128 MiB.
const maxMessage = 1 << 20

// encoder appends values in the wire format, little endian, each aligned to its
// size from the start.
type encoder struct{ b []byte }

func (e *encoder) align(n int) {
	for len(e.b)%n != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) u32(v uint32) {
	e.align(4)
	e.b = binary.LittleEndian.AppendUint32(e.b, v)
}

func (e *encoder) u64(v uint64) {
	e.align(8)
	e.b = binary.LittleEndian.AppendUint64(e.b, v)
}

func (e *encoder) string(s string) {
	e.u32(uint32(len(s)))
	e.b = append(append(e.b, s...), 0)
}

func (e *encoder) signature(s string) {
	e.b = append(e.b, byte(len(s)))
	e.b = append(append(e.b, s...), 0)
}

// array appends an array of elements aligned to n. Its length does not count
// the padding before the first.
func (e *encoder) array(n int, elements func()) {
	e.u32(0)
	at := len(e.b) - 4
	e.align(n)
	start := len(e.b)
	elements()
	binary.LittleEndian.PutUint32(e.b[at:], uint32(len(e.b)-start))
}

// properties appends an array of (name, variant).
func (e *encoder) properties(list []property) (err error) {
	e.array(8, func() {
		for _, p := range list {
			e.align(8)
			e.string(p.name)
			e.signature(p.kind)
			if verr := e.value(p); verr != nil {
				err = verr
			}
		}
	})
	return err
}

func (e *encoder) value(p property) error {
	switch v := p.value.(type) {
	case string:
		e.string(v)
	case bool:
		n := uint32(0)
		if v {
			n = 1
		}
		e.u32(n)
	case uint64:
		e.u64(v)
	case []uint32:
		e.array(4, func() {
			for _, n := range v {
				e.u32(n)
			}
		})
	case []byte:
		e.array(1, func() { e.b = append(e.b, v...) })
	case []deviceRate:
		e.array(8, func() {
			for _, d := range v {
				e.align(8)
				e.string(d.device)
				e.u64(d.rate)
			}
		})
	default:
		return fmt.Errorf("cgroup: property %s of type %T", p.name, p.value)
	}
	return nil
}

// call is a method call.
type call struct {
	path, to, iface, member string
	signature               string
	body                    []byte
}

func (c *call) encode(serial uint32) []byte {
	e := encoder{b: []byte{'l', kindCall, 0, 1}}
	e.u32(uint32(len(c.body)))
	e.u32(serial)
	e.array(8, func() {
		for _, f := range []struct {
			code        byte
			kind, value string
		}{
			{fieldPath, "o", c.path},
			{fieldDestination, "s", c.to},
			{fieldInterface, "s", c.iface},
			{fieldMember, "s", c.member},
			{fieldSignature, "g", c.signature},
		} {
			if f.value == "" {
				continue
			}
			e.align(8)
			e.b = append(e.b, f.code)
			e.signature(f.kind)
			if f.kind == "g" {
				e.signature(f.value)
			} else {
				e.string(f.value)
			}
		}
	})
	e.align(8)
	return append(e.b, c.body...)
}

// message is what the other side said.
type message struct {
	kind      byte
	replyTo   uint32
	member    string
	errorName string
	sender    string // only a bus says it
	signature string
	body      []byte
	order     binary.ByteOrder
}

var errMessage = errors.New("it sent a message that is not D-Bus")

// decoder takes values from a message. After the first that does not fit, ok is
// false and every value is zero.
type decoder struct {
	b     []byte
	at    int
	order binary.ByteOrder
	bad   bool
}

func (d *decoder) take(align, n int) []byte {
	for d.at%align != 0 {
		d.at++
	}
	if d.bad || n < 0 || d.at > len(d.b) || n > len(d.b)-d.at {
		d.bad = true
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) u32() uint32 {
	if b := d.take(4, 4); b != nil {
		return d.order.Uint32(b)
	}
	return 0
}

func (d *decoder) string() string {
	n := d.u32()
	if n > maxMessage {
		d.bad = true
	}
	s := d.take(1, int(n))
	d.take(1, 1)
	return string(s)
}

func (d *decoder) signature() string {
	n := d.take(1, 1)
	if n == nil {
		return ""
	}
	s := d.take(1, int(n[0]))
	d.take(1, 1)
	return string(s)
}

// decode takes one message from the start of what was read. It returns nil
// where more has to be read first.
func decode(b []byte) (*message, int, error) {
	const fixed = 16
	if len(b) < fixed {
		return nil, 0, nil
	}
	m := &message{kind: b[1]}
	switch b[0] {
	case 'l':
		m.order = binary.LittleEndian
	case 'B':
		m.order = binary.BigEndian
	default:
		return nil, 0, errMessage
	}
	body, fields := m.order.Uint32(b[4:]), m.order.Uint32(b[12:])
	if body > maxMessage || fields > maxMessage {
		return nil, 0, fmt.Errorf("%w of this size: %d and %d bytes", errMessage, fields, body)
	}
	start := (fixed + int(fields) + 7) &^ 7
	if len(b) < start+int(body) {
		return nil, 0, nil
	}
	m.body = b[start : start+int(body)]
	d := decoder{b: b[:fixed+int(fields)], at: fixed, order: m.order}
	for d.at < len(d.b) && !d.bad {
		code := d.take(8, 1)
		if code == nil {
			break
		}
		m.field(code[0], d.signature(), &d)
	}
	if d.bad {
		return nil, 0, errMessage
	}
	return m, start + int(body), nil
}

// field takes one field of the header.
func (m *message) field(code byte, kind string, d *decoder) {
	var text string
	var number uint32
	switch kind {
	case "s", "o":
		text = d.string()
	case "g":
		text = d.signature()
	case "u":
		number = d.u32()
	default:
		d.bad = true
	}
	switch code {
	case fieldMember:
		m.member = text
	case fieldErrorName:
		m.errorName = text
	case fieldReplySerial:
		m.replyTo = number
	case fieldSender:
		m.sender = text
	case fieldSignature:
		m.signature = text
	}
}

func (m *message) decoder() *decoder { return &decoder{b: m.body, order: m.order} }

// firstString is the text of an error; "" where it has none.
func (m *message) firstString() string {
	if m.signature == "" || m.signature[0] != 's' {
		return ""
	}
	return m.decoder().string()
}

func (m *message) objectPath() (string, error) {
	d := m.decoder()
	path := d.string()
	if m.signature != "o" || d.bad || path == "" {
		return "", errMessage
	}
	return path, nil
}

// jobRemoved takes the signal's number, path, unit and result.
func (m *message) jobRemoved() (path, result string, err error) {
	d := m.decoder()
	d.u32()
	path = d.string()
	d.string()
	result = d.string()
	if m.signature != "uoss" || d.bad {
		return "", "", errMessage
	}
	return path, result, nil
}
