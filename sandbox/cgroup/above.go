package cgroup

import (
	"math"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDepth bounds how far up the tree is looked.
const maxDepth = 32

// Bound is a limit of an enclosing group that is below the sandbox's own.
type Bound struct {
	File  string
	Value string
	// Group is the enclosing group as the caller sees it in /proc/PID/cgroup.
	Group string
}

// Above lists, for each of the limits of the group, the lowest one of an
// enclosing group that is below it: the kernel holds both, so a job meets that
// one first, or shares it with others.
func (g *Group) Above(files ...string) []Bound {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.dir < 0 {
		return nil
	}
	var found []Bound
	for _, file := range files {
		own := amount(file, g.readBack[file])
		if b, ok := g.lowest(file, own); ok {
			found = append(found, b)
		}
	}
	return found
}

// lowest looks at one file of each enclosing group.
func (g *Group) lowest(file string, own float64) (Bound, bool) {
	b, ok := Bound{}, false
	up := ".."
	for depth := 1; depth < maxDepth; depth, up = depth+1, up+"/.." {
		var st unix.Statfs_t
		fd, err := unix.Openat(g.dir, up, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return b, ok
		}
		err = unix.Fstatfs(fd, &st)
		said := ""
		if err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			said, err = readFile(fd, file) // the root of all groups has none
		}
		unix.Close(fd)
		if err != nil || said == "" {
			return b, ok
		}
		if n := amount(file, said); n < own {
			own, ok = n, true
			b = Bound{File: file, Value: strings.TrimSpace(said), Group: ancestor(g.path, depth)}
		}
	}
	return b, ok
}

// ancestor is a path without its last parts.
func ancestor(p string, depth int) string {
	for range depth {
		p = path.Dir(p)
	}
	return p
}

// amount is the value of a file as a number to compare: of CPUs for cpu.max.
func amount(file, said string) float64 {
	fields := strings.Fields(said)
	if len(fields) == 0 || fields[0] == "max" {
		return math.Inf(1)
	}
	n, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return math.Inf(1)
	}
	if file == CPUMax && len(fields) == 2 {
		if period, err := strconv.ParseFloat(fields[1], 64); err == nil && period > 0 {
			return n / period
		}
	}
	return n
}
