package changes

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Signals, of which Go's scheduler sends some at any time, make the kernel list a
// directory in pieces, the first of which may be "." alone.
func TestEmptyUnderSignals(t *testing.T) {
	top := t.TempDir()
	for i := range 40 {
		dir := filepath.Join(top, strconv.Itoa(i))
		for range 40 {
			dir = filepath.Join(dir, "d")
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var done atomic.Bool
	gone := make(chan struct{})
	tid := unix.Gettid()
	go func() {
		defer close(gone)
		for !done.Load() {
			_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
		}
	}()
	err = Empty(fd)
	done.Store(true)
	<-gone
	if left, rerr := os.ReadDir(top); err != nil || rerr != nil || len(left) > 0 {
		t.Errorf("%v; left: %v, %v", err, left, rerr)
	}
}
