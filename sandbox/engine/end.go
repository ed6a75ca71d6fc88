package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// startOf is when a process started, in ticks after boot: field 22 of
// proc_pid_stat(5), counted behind the name, which may hold anything.
func startOf(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const at = 22 - 3
	if len(fields) <= at {
		return 0, fmt.Errorf("/proc/%d/stat is not as it should be", pid)
	}
	return strconv.ParseUint(fields[at], 10, 64)
}

// endPatience is how long a brig has to end its sandbox and write the record.
const endPatience = 10 * time.Second

// End ends the run of a container: the brig that runs it is asked to (SIGTERM),
// and killed where it does not. A container that does not run is left as it is.
func (c *Container) End(ctx context.Context) error {
	if err := c.reload(); err != nil {
		return err
	}
	if c.State() != Running {
		return nil
	}
	fd, err := unix.PidfdOpen(c.Run.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil // it has just ended
	}
	if err != nil {
		return fmt.Errorf("ending container %s: %w", c.Name, err)
	}
	defer unix.Close(fd)
	// The descriptor means whichever process had the number when it was opened;
	// if that one has started when the record says, it is the one meant.
	if since, err := startOf(c.Run.PID); err != nil || since != c.Run.Since {
		return fmt.Errorf("ending container %s: its brig cannot be found from here\n  fix: end it where it runs", c.Name)
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("ending container %s: %w", c.Name, err)
		}
		for deadline := time.Now().Add(endPatience); time.Now().Before(deadline); {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
			if n > 0 {
				return nil
			}
			if err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("ending container %s: %w", c.Name, err)
			}
		}
	}
	return fmt.Errorf("ending container %s: its brig does not end", c.Name)
}
