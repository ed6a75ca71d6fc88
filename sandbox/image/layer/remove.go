package layer

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/changes"
)

// Empty removes all that is in a directory, however deep it is, and leaves the
// directory. It follows no link. Directories that their owner has closed are
// opened first.
func Empty(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("emptying %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if err := changes.Empty(fd); err != nil {
		return fmt.Errorf("emptying %s: %w", dir, err)
	}
	return nil
}
