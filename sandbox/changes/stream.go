package changes

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The stream is a sequence of frames: a byte that says what it is, the length
// of what follows in four bytes, and that.
//
//	c  a change                                 (JSON, wire)
//	d  bytes that belong to the change before
//	h  a hole in them                           (its length, eight bytes)
//	x  an error: the stream ends                (text)
//	z  the end                                  (nothing)
const (
	frameChange = 'c'
	frameData   = 'd'
	frameHole   = 'h'
	frameError  = 'x'
	frameEnd    = 'z'
)

// Bounds on frames, in bytes.
const (
	maxData  = 64 << 10
	maxWire  = 32 << 10 // paths and targets are base64 in it
	maxError = 4 << 10
)

// wire is a change with what JSON's text could not hold.
type wire struct {
	Change
	Path   []byte `json:"path"`
	Target []byte `json:"target,omitempty"`
}

// Encoder writes a stream.
type Encoder struct{ w *bufio.Writer }

// NewEncoder returns an encoder; Close ends the stream.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{bufio.NewWriterSize(w, 256<<10)} }

func (e *Encoder) frame(kind byte, payload []byte) error {
	var head [5]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(len(payload)))
	if _, err := e.w.Write(head[:]); err != nil {
		return err
	}
	_, err := e.w.Write(payload)
	return err
}

// Change writes a change.
func (e *Encoder) Change(c *Change) error {
	b, err := json.Marshal(wire{Change: *c, Path: []byte(c.Path), Target: []byte(c.Target)})
	if err != nil {
		return err
	}
	return e.frame(frameChange, b)
}

// Write writes bytes that belong to the change before.
func (e *Encoder) Write(p []byte) (int, error) {
	for n := 0; n < len(p); n += maxData {
		if err := e.frame(frameData, p[n:min(n+maxData, len(p))]); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// Content writes a file, holes as holes.
func (e *Encoder) Content(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	size, fd := st.Size(), int(f.Fd())
	for at := int64(0); at < size; {
		data, err := nextData(f, at, size)
		if err != nil {
			return err
		}
		if data > at {
			if err := e.frame(frameHole, binary.BigEndian.AppendUint64(nil, uint64(data-at))); err != nil {
				return err
			}
			at = data
			continue
		}
		end, err := unix.Seek(fd, at, unix.SEEK_HOLE)
		if errors.Is(err, unix.EINVAL) {
			end = size
		} else if err != nil {
			return err
		}
		n, err := io.Copy(onlyWriter{e}, io.NewSectionReader(f, at, min(end, size)-at))
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("it was cut short while it was read")
		}
		at += n
	}
	return nil
}

// onlyWriter hides what io.Copy would use otherwise.
type onlyWriter struct{ io.Writer }

// Close ends the stream, with an error where there is one.
func (e *Encoder) Close(err error) error {
	if err != nil {
		text := err.Error()
		err = e.frame(frameError, []byte(text[:min(len(text), maxError)]))
	} else {
		err = e.frame(frameEnd, nil)
	}
	return errors.Join(err, e.w.Flush())
}

// ErrStream is wrapped by errors about a stream that no Encoder has written.
var ErrStream = errors.New("the sandboxed part of brig said something that makes no sense")

// Decoder reads a stream that nobody vouches for.
type Decoder struct {
	r    *bufio.Reader
	last string // the last change's path
	any  bool
	end  bool
	hole int64  // that is left of a hole
	data []byte // that is left of a frame
	kind byte   // of the frame that was read and not used
	body []byte
}

// NewDecoder returns a decoder.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: bufio.NewReaderSize(r, 256<<10)} }

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrStream, fmt.Sprintf(format, args...))
}

// next reads a frame into kind and body.
func (d *Decoder) next() error {
	if d.kind != 0 {
		return nil
	}
	var head [5]byte
	if _, err := io.ReadFull(d.r, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return bad("it ends early")
		}
		return err
	}
	size := binary.BigEndian.Uint32(head[1:])
	most, ok := map[byte]uint32{frameChange: maxWire, frameData: maxData, frameHole: 8, frameError: maxError, frameEnd: 0}[head[0]]
	if !ok || size > most || head[0] == frameHole && size != 8 {
		return bad("a frame %q of %d bytes", head[0], size)
	}
	d.body = make([]byte, size)
	if _, err := io.ReadFull(d.r, d.body); err != nil {
		return bad("it ends early")
	}
	d.kind = head[0]
	return nil
}

// Next gives the next change; io.EOF after the last one. Data of the change
// before that was not read is left out.
func (d *Decoder) Next() (*Change, error) {
	if d.end {
		return nil, io.EOF
	}
	if _, err := io.Copy(io.Discard, skipHoles{d}); err != nil {
		return nil, err
	}
	if err := d.next(); err != nil {
		return nil, err
	}
	kind, body := d.kind, d.body
	d.kind, d.body = 0, nil
	switch kind {
	case frameEnd:
		if _, err := d.r.ReadByte(); !errors.Is(err, io.EOF) {
			return nil, bad("something follows its end")
		}
		d.end = true
		return nil, io.EOF
	case frameError:
		return nil, errors.New(string(body))
	}
	var v wire
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, bad("%v", err)
	}
	c := v.Change
	c.Path, c.Target = string(v.Path), string(v.Target)
	if err := c.check(); err != nil {
		return nil, bad("%v", err)
	}
	if d.any && !Less(d.last, c.Path) {
		return nil, bad("%q comes after %q", clip(c.Path), clip(d.last))
	}
	d.last, d.any = c.Path, true
	return &c, nil
}

// Read reads the data of the last change, holes as zeros.
func (d *Decoder) Read(p []byte) (int, error) {
	for {
		if d.hole > 0 {
			n := int(min(int64(len(p)), d.hole))
			clear(p[:n])
			d.hole -= int64(n)
			return n, nil
		}
		if len(d.data) > 0 {
			n := copy(p, d.data)
			d.data = d.data[n:]
			return n, nil
		}
		if err := d.more(); err != nil {
			return 0, err
		}
	}
}

// more takes the next frame if it is data.
func (d *Decoder) more() error {
	if d.end || !d.any {
		return io.EOF
	}
	if err := d.next(); err != nil {
		return err
	}
	switch d.kind {
	case frameData:
		d.data = d.body
	case frameHole:
		n := binary.BigEndian.Uint64(d.body)
		if n == 0 || n > maxSize {
			return bad("a hole of %d bytes", n)
		}
		d.hole = int64(n)
	default:
		return io.EOF
	}
	d.kind, d.body = 0, nil
	return nil
}

// WriteContent writes the data of the last change into a file, which must turn
// out as long as the change says. Holes stay holes.
func (d *Decoder) WriteContent(f *os.File, size int64) error {
	var at int64
	for {
		var n int64
		switch {
		case d.hole > 0:
			n, d.hole = d.hole, 0
		case len(d.data) > 0:
			n = int64(len(d.data))
		default:
			err := d.more()
			if errors.Is(err, io.EOF) {
				if at != size {
					return bad("%d bytes of a file of %d", at, size)
				}
				return f.Truncate(size)
			}
			if err != nil {
				return err
			}
			continue
		}
		if n > size-at {
			return bad("more than the file's %d bytes", size)
		}
		if len(d.data) > 0 {
			if _, err := f.WriteAt(d.data, at); err != nil {
				return err
			}
			d.data = nil
		}
		at += n
	}
}

// skipHoles reads data without making zeros of holes.
type skipHoles struct{ d *Decoder }

// Read implements io.Reader.
func (s skipHoles) Read(p []byte) (int, error) {
	s.d.hole = 0
	for len(s.d.data) == 0 {
		if err := s.d.more(); err != nil {
			return 0, err
		}
		s.d.hole = 0
	}
	n := copy(p, s.d.data)
	s.d.data = s.d.data[n:]
	return n, nil
}
