package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Pack is what one Copy op brings in: a file, or a tree, read by the parent
// with the caller's rights, since the sandbox's ids may not be able to.
type Pack struct {
	content *os.File // a memory file with the contents of all files
	entries []packEntry
	size    int64
}

type packEntry struct {
	path         string // relative to the target; "" is the target itself
	mode         fs.FileMode
	link         string
	offset, size int64
}

// maxPackEntries bounds a pack: each entry costs a few ops of the program.
const maxPackEntries = 50_000

// ReadPack reads the file or tree at source. It follows no link out of it,
// copies links as links, and refuses devices, sockets and pipes. limit bounds
// the bytes; below 0 there is no bound.
func ReadPack(source string, limit int64) (*Pack, error) {
	p := &Pack{}
	err := p.read(source, limit)
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("copying %s: %w", source, err)
	}
	return p, nil
}

// Close releases the pack's memory.
func (p *Pack) Close() {
	if p.content != nil {
		p.content.Close()
	}
}

func (p *Pack) read(source string, limit int64) error {
	f, err := unix.MemfdCreate("brig-copy", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("making a memory file: %w", err)
	}
	p.content = os.NewFile(uintptr(f), "brig-copy")
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	dir, name := source, "."
	if !info.IsDir() {
		dir, name = path.Dir(source), path.Base(source)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if !info.IsDir() {
		return p.addFile(root, name, "", limit)
	}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return p.add(root, name, d, limit)
	})
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
		return fmt.Errorf("%s is a %s, which cannot be copied", name, d.Type())
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
		return fmt.Errorf("%s is a %s, which cannot be copied", name, info.Mode().Type())
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

// errNoPack says that Config.Packs is shorter than the plan's list of copies.
var errNoPack = errors.New("launch: a copy without its content")

// copyIn lowers a Copy op: every entry of its pack, made below the target.
func (l *lowering) copyIn(op *plan.Op) error {
	if l.packs >= len(l.cfg.Packs) {
		return errNoPack
	}
	pack, content := l.cfg.Packs[l.packs], fd(firstFreeFD+l.packs)
	l.packs++
	job := l.plan.Find(plan.JobIDs)
	own := l.plan.Find(plan.SetIDs) != nil
	dir := l.inRoot(path.Dir(op.Target), unix.O_PATH|unix.O_DIRECTORY, 0, false, nil)
	for i := range pack.entries {
		e := &pack.entries[i]
		name := l.str(path.Join(path.Base(op.Target), e.path))
		switch {
		case e.mode.IsDir():
			l.callOK([]unix.Errno{unix.EEXIST}, unix.SYS_MKDIRAT, dir.val(), name, n(uint64(e.mode.Perm())))
		case e.mode&fs.ModeSymlink != 0:
			l.call(unix.SYS_SYMLINKAT, l.str(e.link), dir.val(), name)
		default:
			l.copyFile(dir, name, e, content)
		}
		if own {
			l.call(unix.SYS_FCHOWNAT, dir.val(), name, n(uint64(job.UID)), n(uint64(job.GID)), n(unix.AT_SYMLINK_NOFOLLOW))
		}
	}
	l.call(unix.SYS_CLOSE, dir.val())
	return nil
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
