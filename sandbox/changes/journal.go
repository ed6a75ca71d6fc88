package changes

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Journal says what an application is about to do, so that one that was killed
// can be continued. Each line is a step; the last may be torn.
//
//	begin  which directory it is
//	make   a temporary name beside a path is about to be used
//	swap   it is about to change places with what is at the path, or, with no
//	       new inode, to take its place
//	mode   the mode of what is at the path is about to be changed
//	done   what is at the path now; the temporary name is gone
type Journal struct {
	f *os.File
}

// step is a line of a journal.
type step struct {
	Op    string `json:"op"`
	Path  []byte `json:"path,omitempty"`
	Temp  string `json:"temp,omitempty"`
	Dev   uint64 `json:"dev,omitempty"`
	Inode uint64 `json:"inode,omitempty"` // begin: the directory's; swap: the new file's
	Old   *Was   `json:"old,omitempty"`   // swap: what is expected to come out
	Now   *Was   `json:"now,omitempty"`   // done
	Mode  uint32 `json:"mode,omitempty"`  // mode: the new one
	Force bool   `json:"force,omitempty"`
}

// The steps.
const (
	stepBegin = "begin"
	stepMake  = "make"
	stepSwap  = "swap"
	stepMode  = "mode"
	stepDone  = "done"
)

// tempPrefix begins the names of temporary files in the host's directory.
const tempPrefix = ".brig-apply-"

// maxJournal bounds a journal, in bytes.
const maxJournal = 1 << 30

// errJournal is of a journal that no Target has written.
var errJournal = errors.New("the journal of an interrupted apply is damaged")

// readJournal reads the steps of a journal, and tells how long they are. A line
// that is not whole at the end was never acted upon.
func readJournal(r io.Reader) (list []step, whole int64, err error) {
	br := bufio.NewReader(io.LimitReader(r, maxJournal))
	for {
		line, err := br.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return list, whole, nil
		}
		if err != nil {
			return nil, 0, err
		}
		var s step
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			return nil, 0, fmt.Errorf("%w: line %d: %w", errJournal, len(list)+1, err)
		}
		if err := s.check(len(list) == 0); err != nil {
			return nil, 0, fmt.Errorf("%w: line %d: %w", errJournal, len(list)+1, err)
		}
		list = append(list, s)
		whole += int64(len(line))
	}
}

func (s *step) check(first bool) error {
	if (s.Op == stepBegin) != first {
		return fmt.Errorf("step %q", clip(s.Op))
	}
	switch s.Op {
	case stepBegin:
		return nil
	case stepMake, stepSwap:
		if !strings.HasPrefix(s.Temp, tempPrefix) || CheckPath(s.Temp) != nil || strings.Contains(s.Temp, "/") {
			return fmt.Errorf("temporary name %q", clip(s.Temp))
		}
		if s.Op == stepSwap && s.Old == nil && s.Inode == 0 {
			return errors.New("a step of nothing")
		}
	case stepMode:
		if s.Old == nil || s.Mode > 0o7777 {
			return errors.New("a mode of nothing")
		}
	case stepDone:
	default:
		return fmt.Errorf("step %q", clip(s.Op))
	}
	return CheckPath(string(s.Path))
}

func (j *Journal) write(s step, sync bool) error {
	b, err := json.Marshal(s)
	if err == nil {
		_, err = j.f.Write(append(b, '\n'))
	}
	if err == nil && sync {
		err = unix.Fdatasync(int(j.f.Fd()))
	}
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

func (j *Journal) close() { j.f.Close() }

// Pending tells whether a journal is there: whether an application was
// interrupted.
func Pending(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// Begin opens the journal, or makes it, and brings to an end what the last
// application was at when it was interrupted.
func (t *Target) Begin(file string) error {
	var st unix.Stat_t
	if err := unix.Fstat(t.root, &st); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		f, err = os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	t.journal = &Journal{f}
	steps, whole, err := readJournal(f)
	if err != nil {
		return fmt.Errorf("%s: %w\n  fix: look for files named %s* in the directory, and remove the journal", file, err, tempPrefix)
	}
	if err := f.Truncate(whole); err != nil { // of a torn line
		return fmt.Errorf("writing the journal: %w", err)
	}
	if len(steps) == 0 {
		return t.journal.write(step{Op: stepBegin, Dev: st.Dev, Inode: st.Ino}, true)
	}
	if steps[0].Dev != st.Dev || steps[0].Inode != st.Ino {
		return fmt.Errorf("%s: an interrupted apply began on another directory\n  fix: put that one back and run brig apply again, or remove the journal", file)
	}
	return t.recover(steps)
}

// Done is what was applied, also before an interruption: nil where the path was
// deleted.
func (t *Target) Done() map[string]*Was { return t.done }
