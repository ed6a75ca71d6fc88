package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Pack is what one Copy op brings in: a file, or a tree, read by the parent
// with the caller's rights, since the sandbox's ids may not be able to.
type Pack struct {
	content *os.File // a memory file with the contents of all files
	entries []packEntry
	size    int64
	source  fs.FileInfo // of the file, or of the tree's top
}

type packEntry struct {
	path         string // relative to the target; "" is the target itself
	mode         fs.FileMode
	link         string
	offset, size int64
}

// maxPackEntries bounds a pack: each entry costs a few ops of the program.
const maxPackEntries = 50_000

// ErrExchanged is wrapped by what ReadPack returns when the source is no longer
// the file or directory that it was when the plan was made.
var ErrExchanged = errors.New("it was exchanged for something else while the sandbox was being set up")

// ReadPack reads the file or tree at the source of a Copy op. It follows no
// link out of it, copies links as links, and refuses devices, sockets and
// pipes. limit bounds the bytes; below 0 there is no bound.
func ReadPack(op *plan.Op, limit int64) (*Pack, error) {
	p := &Pack{}
	err := p.read(op, limit)
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("copying %s: %w", op.Source, err)
	}
	return p, nil
}

// Close releases the pack's memory.
func (p *Pack) Close() {
	if p.content != nil {
		p.content.Close()
	}
}

func (p *Pack) read(op *plan.Op, limit int64) error {
	f, err := unix.MemfdCreate("brig-copy", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("making a memory file: %w", err)
	}
	p.content = os.NewFile(uintptr(f), "brig-copy")
	info, err := os.Stat(op.Source)
	if err != nil {
		return err
	}
	dir, name := op.Source, "."
	if !info.IsDir() {
		dir, name = path.Dir(op.Source), path.Base(op.Source)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if !info.IsDir() {
		if err := p.addFile(root, name, "", limit); err != nil {
			return err
		}
		return p.isStill(op)
	}
	if p.source, err = root.Stat("."); err != nil {
		return err
	}
	if err := p.isStill(op); err != nil {
		return err
	}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return p.add(root, name, d, limit)
	})
}

// isStill compares what was opened, not what a path leads to by now, with what
// the plan was made for.
func (p *Pack) isStill(op *plan.Op) error {
	st, ok := p.source.Sys().(*syscall.Stat_t)
	if op.Inode != 0 && (!ok || st.Ino != op.Inode || st.Dev != op.Device) {
		return ErrExchanged
	}
	return nil
}

func (p *Pack) add(root *os.Root, name string, d fs.DirEntry, limit int64) error {
	if len(p.entries) >= maxPackEntries {
		return fmt.Errorf("it holds more than %d files: give it with access cow or ro, or copy a part of it", maxPackEntries)
	}
	rel := name
	if rel == "." {
		rel = ""
	}
	switch {
	case d.IsDir():
		info, err := d.Info()
		if err != nil {
			return err
		}
		p.entries = append(p.entries, packEntry{path: rel, mode: fs.ModeDir | info.Mode().Perm()})
	case d.Type() == fs.ModeSymlink:
		link, err := root.Readlink(name)
		if err != nil {
			return err
		}
		p.entries = append(p.entries, packEntry{path: rel, mode: fs.ModeSymlink, link: link})
	case d.Type().IsRegular():
		return p.addFile(root, name, rel, limit)
	default:
		// Pipes and sockets are somebody's endpoints, not data, and build
		// servers leave them about; a device is never given by copying.
		return nil
	}
	return nil
}

func (p *Pack) addFile(root *os.Root, name, rel string, limit int64) error {
	// Without O_NONBLOCK a pipe that took the file's place would hang brig.
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return notCopied(name, info.Mode().Type())
	}
	if rel == "" {
		p.source = info
	}
	from := io.Reader(f)
	if limit >= 0 {
		from = io.LimitReader(f, limit-p.size+1)
	}
	size, err := io.Copy(p.content, from)
	if err != nil {
		return err
	}
	if limit >= 0 && p.size+size > limit {
		return fmt.Errorf("it holds more than the %d bytes that the scratch may take: raise --scratch-size", limit)
	}
	p.entries = append(p.entries, packEntry{path: rel, mode: info.Mode().Perm(), offset: p.size, size: size})
	p.size += size
	return nil
}

// notCopied refuses what is neither file, directory nor link.
func notCopied(name string, t fs.FileMode) error {
	what := "is of an unknown type"
	switch {
	case t&fs.ModeNamedPipe != 0:
		what = "is a named pipe"
	case t&fs.ModeSocket != 0:
		what = "is a socket"
	case t&fs.ModeDevice != 0:
		what = "is a device"
	}
	return fmt.Errorf("%s %s, which cannot be copied", name, what)
}

// errNoPack says that Config.Packs is shorter than the plan's list of copies.
var errNoPack = errors.New("launch: a copy without its content")

// copyIn lowers a Copy op: every entry of its pack, made below the target. Each
// is made in the descriptor of its own directory, and no link leads there: a
// root file system may hold links where the copy has directories, and until the
// pivot they would lead to the host.
func (l *lowering) copyIn(op *plan.Op) error {
	if l.packs >= len(l.cfg.Packs) {
		return errNoPack
	}
	pack, content := l.cfg.Packs[l.packs], fd(firstFreeFD+3+l.packs)
	l.packs++
	job := l.plan.Find(plan.JobIDs)
	own := l.plan.Find(plan.SetIDs) != nil
	dir := l.inRoot(path.Dir(op.Target), unix.O_PATH|unix.O_DIRECTORY, false, nil)
	in, inPath := dir, "."
	for i := range pack.entries {
		e := &pack.entries[i]
		rel := path.Join(path.Base(op.Target), e.path)
		if parent := path.Dir(rel); parent != inPath {
			if in != dir {
				l.call(unix.SYS_CLOSE, in.val())
			}
			in, inPath = l.below(dir, parent), parent
		}
		name := l.str(path.Base(rel))
		switch {
		case e.mode.IsDir():
			l.callOK([]unix.Errno{unix.EEXIST}, unix.SYS_MKDIRAT, in.val(), name, n(uint64(e.mode.Perm())))
		case e.mode&fs.ModeSymlink != 0:
			l.call(unix.SYS_SYMLINKAT, l.str(e.link), in.val(), name)
		default:
			l.copyFile(in, name, e, content)
		}
		if own {
			l.call(unix.SYS_FCHOWNAT, in.val(), name, n(uint64(job.UID)), n(uint64(job.GID)), n(unix.AT_SYMLINK_NOFOLLOW))
		}
	}
	if in != dir {
		l.call(unix.SYS_CLOSE, in.val())
	}
	l.call(unix.SYS_CLOSE, dir.val())
	return nil
}

// below opens a directory below another one without following any link.
func (l *lowering) below(dir cell, rel string) cell {
	return l.get(unix.SYS_OPENAT2, dir.val(), l.str(rel),
		l.openHow(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS), n(24))
}

func (l *lowering) copyFile(dir cell, name arg, e *packEntry, content arg) {
	f := l.get(unix.SYS_OPENAT, dir.val(), name, n(unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC), n(uint64(e.mode.Perm())))
	const most = 1 << 30
	for done := int64(0); done < e.size; {
		part := min(e.size-done, most)
		sent := l.get(unix.SYS_SENDFILE, f.val(), content, n(l.words(uint64(e.offset+done))), n(uint64(part)))
		l.compare(uint64(sent), 4, 1<<32-1, uint64(part), unix.ENOSPC)
		done += part
	}
	l.call(unix.SYS_CLOSE, f.val())
}

// fileInTree writes a file into the tree that becomes the root, or its layer.
func (l *lowering) fileInTree(op *plan.Op) error {
	if op.Source == "" {
		l.file(l.tree, op.Target, op.Mode, []byte(op.Data))
		return nil
	}
	if l.packs >= len(l.cfg.Packs) {
		return errNoPack
	}
	pack, content := l.cfg.Packs[l.packs], fd(firstFreeFD+3+l.packs)
	l.packs++
	if len(pack.entries) != 1 || !pack.entries[0].mode.IsRegular() {
		return fmt.Errorf("%s is not a file", op.Source)
	}
	e := pack.entries[0]
	e.mode = fs.FileMode(op.Mode)
	l.copyFile(l.tree, l.rel(op.Target), &e, content)
	return nil
}

// file writes a small file whose content the plan holds.
func (l *lowering) file(dir cell, target string, mode uint32, content []byte) {
	f := l.get(unix.SYS_OPENAT, dir.val(), l.rel(target), n(unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC), n(uint64(mode)))
	if len(content) > 0 {
		wrote := l.get(unix.SYS_WRITE, f.val(), n(l.bytes(content)), n(uint64(len(content))))
		l.compare(uint64(wrote), 4, 1<<32-1, uint64(len(content)), unix.ENOSPC)
	}
	l.call(unix.SYS_CLOSE, f.val())
}

// Size is how many bytes of content the pack holds.
func (p *Pack) Size() int64 { return p.size }
