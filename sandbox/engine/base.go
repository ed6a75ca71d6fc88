package engine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/atomicfile"
)

// Stat is what is recorded of a name of a cow's source: enough to tell whether it
// is still the same with the same content.
type Stat struct {
	Inode        uint64
	Mode         uint32 // st_mode, the type included
	UID, GID     uint32
	Size         int64
	MTime, CTime unix.Timespec
}

// StatOf takes from a stat(2) what is recorded.
func StatOf(st *unix.Stat_t) Stat {
	return Stat{Inode: st.Ino, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Size: st.Size, MTime: st.Mtim, CTime: st.Ctim}
}

// MaxBase is how many names are recorded at most. A base that lacks some says so.
const MaxBase = 1 << 20

// baseMagic begins a base file. After it come records, in the order of a walk
// that visits a directory before what is in it and names in byte order:
//
//	uvarint  bytes that the path shares with the one before
//	uvarint  length of the rest, and the rest: the path relative to the source
//	uvarint  inode, mode, uid, gid, size
//	varint   mtime seconds, uvarint nanoseconds; ctime likewise
//
// and at the end a record of two zeros, a byte that is 1 where names are missing
// (more than MaxBase, or a directory that could not be read), and the CRC-32 of
// all before it, 4 bytes, little endian. The source itself is the path ".".
const baseMagic = "brig base 1\n"

type baseWriter struct {
	w     *bufio.Writer
	sum   hash.Hash32
	buf   []byte
	last  string
	count int
	part  bool // names are missing
}

// WriteBase records what a directory holds into a new file: a stat(2) for each
// name, through no link and into no other file system. The file is complete and
// synced, or not there.
func WriteBase(file, dir string) error {
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("recording %s: %w", dir, err)
	}
	err = writeBase(file, func(b *baseWriter) error {
		var st unix.Stat_t
		err := unix.Fstat(root, &st)
		if err == nil {
			err = b.add(".", &st)
		}
		if err != nil {
			unix.Close(root)
			return err
		}
		return b.walk(root, "", st.Dev)
	})
	if err != nil {
		return fmt.Errorf("recording %s: %w", dir, err)
	}
	return nil
}

// ReplaceBase writes a record anew, after something was done to the host's
// directory that is no change of somebody else's.
func ReplaceBase(file string, names map[string]Stat, complete bool) error {
	err := writeBase(file, func(b *baseWriter) error {
		b.part = !complete
		for _, p := range slices.Sorted(maps.Keys(names)) {
			if err := b.put(p, names[p]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording the host's directory anew: %w", err)
	}
	return nil
}

// writeBase writes a file that is there whole or not at all.
func writeBase(file string, fill func(*baseWriter) error) error {
	f, err := os.CreateTemp(path.Dir(file), ".base-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already where all went well
	b := &baseWriter{sum: crc32.NewIEEE()}
	b.w = bufio.NewWriterSize(io.MultiWriter(f, b.sum), 256<<10)
	if _, err = b.w.WriteString(baseMagic); err == nil {
		err = fill(b)
	}
	if err == nil {
		err = b.finish(f)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err == nil {
		err = atomicfile.SyncDir(path.Dir(file))
	}
	return err
}

// walk records what is in a directory, and closes it.
func (b *baseWriter) walk(fd int, at string, dev uint64) error {
	d := os.NewFile(uintptr(fd), at)
	names, err := d.Readdirnames(-1)
	defer d.Close()
	if err != nil {
		b.part = true
	}
	slices.Sort(names)
	for _, name := range names {
		if b.count >= MaxBase {
			b.part = true
			return nil
		}
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue // gone since: as if it had never been there
		}
		p := path.Join(at, name)
		if err := b.add(p, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Dev != dev {
			continue
		}
		sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			b.part = true
			continue
		}
		if err := b.walk(sub, p, dev); err != nil {
			return err
		}
	}
	return nil
}

func (b *baseWriter) add(p string, st *unix.Stat_t) error { return b.put(p, StatOf(st)) }

func (b *baseWriter) put(p string, st Stat) error {
	shared := 0
	for shared < len(p) && shared < len(b.last) && p[shared] == b.last[shared] {
		shared++
	}
	b.last = p
	b.count++
	buf := binary.AppendUvarint(b.buf[:0], uint64(shared))
	buf = binary.AppendUvarint(buf, uint64(len(p)-shared))
	buf = append(buf, p[shared:]...)
	for _, n := range [...]uint64{st.Inode, uint64(st.Mode), uint64(st.UID), uint64(st.GID), uint64(st.Size)} {
		buf = binary.AppendUvarint(buf, n)
	}
	for _, t := range [...]unix.Timespec{st.MTime, st.CTime} {
		buf = binary.AppendVarint(buf, t.Sec)
		buf = binary.AppendUvarint(buf, uint64(t.Nsec))
	}
	b.buf = buf
	_, err := b.w.Write(buf)
	return err
}

func (b *baseWriter) finish(f *os.File) error {
	end := []byte{0, 0, 0}
	if b.part {
		end[2] = 1
	}
	if _, err := b.w.Write(end); err != nil {
		return err
	}
	if err := b.w.Flush(); err != nil {
		return err
	}
	_, err := f.Write(binary.LittleEndian.AppendUint32(nil, b.sum.Sum32()))
	return err
}

// errBase says that a base file is not what WriteBase wrote.
var errBase = errors.New("the record of the host's directory is damaged")

// ReadBase reads the record that WriteBase made: of the names for which want is
// true, or all where it is nil. A name that is not in it did not exist, unless
// complete is false, when nothing is known of it.
func ReadBase(file string, want func(path string) bool) (names map[string]Stat, complete bool, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	r := &baseReader{sum: crc32.NewIEEE(), r: bufio.NewReaderSize(f, 256<<10)}
	magic := make([]byte, len(baseMagic))
	if r.bytes(magic); r.err != nil || string(magic) != baseMagic {
		return nil, false, fmt.Errorf("%s: %w", file, errBase)
	}
	names = map[string]Stat{}
	for {
		p, st, ok := r.next()
		if r.err != nil {
			return nil, false, fmt.Errorf("%s: %w", file, errBase)
		}
		if !ok {
			break
		}
		if want == nil || want(p) {
			names[p] = st
		}
	}
	part, err := r.ReadByte()
	sum := r.sum.Sum32()
	var stored [4]byte
	if _, rerr := io.ReadFull(r.r, stored[:]); err != nil || rerr != nil || binary.LittleEndian.Uint32(stored[:]) != sum {
		return nil, false, fmt.Errorf("%s: %w", file, errBase)
	}
	return names, part == 0, nil
}

type baseReader struct {
	r    *bufio.Reader
	sum  hash.Hash32
	last []byte
	err  error
}

// ReadByte implements io.ByteReader, for binary.ReadUvarint.
func (r *baseReader) ReadByte() (byte, error) {
	c, err := r.r.ReadByte()
	if err == nil {
		_, _ = r.sum.Write([]byte{c})
	}
	return c, err
}

func (r *baseReader) bytes(b []byte) {
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, b)
		_, _ = r.sum.Write(b)
	}
}

func (r *baseReader) uint() uint64 {
	if r.err != nil {
		return 0
	}
	var n uint64
	n, r.err = binary.ReadUvarint(r)
	return n
}

func (r *baseReader) time() (t unix.Timespec) {
	if r.err == nil {
		t.Sec, r.err = binary.ReadVarint(r)
	}
	t.Nsec = int64(r.uint())
	return t
}

// next reads a record; ok is false at the last one.
func (r *baseReader) next() (p string, st Stat, ok bool) {
	shared, rest := r.uint(), r.uint()
	if r.err != nil || shared == 0 && rest == 0 {
		return "", st, false
	}
	if shared > uint64(len(r.last)) || rest > unix.PathMax*64 {
		r.err = errBase
		return "", st, false
	}
	b := make([]byte, rest)
	r.bytes(b)
	r.last = append(r.last[:shared], b...)
	st.Inode, st.Mode, st.UID, st.GID, st.Size = r.uint(), uint32(r.uint()), uint32(r.uint()), uint32(r.uint()), int64(r.uint())
	st.MTime, st.CTime = r.time(), r.time()
	return string(r.last), st, r.err == nil
}
