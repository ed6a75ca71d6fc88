package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// maxDatabase bounds /etc/passwd and /etc/group, in bytes.
const maxDatabase = 1 << 20

// maxID is the highest id: the next one means "none" to the kernel.
const maxID = 1<<32 - 2

// User is whom an image's User names.
type User struct {
	UID, GID uint32
	// Groups are the supplementary ones that /etc/group gives the user; none
	// where a group was named.
	Groups []uint32
	// Name and Home are as /etc/passwd has them; empty where the user is not in
	// it.
	Name, Home string
}

// FindUser resolves "user", "uid", "user:group" and so on as Docker does, in the
// passwd and group files of the layers: a name goes before a number, and the
// first line counts. A number that the image does not know is that id, and its
// group the one of the same number. Nothing falls back to root: a name that is
// not there, a line that is broken where it matters, and files that cannot be
// read are errors.
func FindUser(layers []string, spec string) (*User, error) {
	user, group, named := strings.Cut(spec, ":")
	if user == "" || named && group == "" || strings.Contains(group, ":") {
		return nil, fmt.Errorf("user %s: it is not like user or user:group", strconv.Quote(clip(spec)))
	}
	passwd, err := database(layers, "/etc/passwd", 6)
	if err != nil {
		return nil, err
	}
	groups, err := database(layers, "/etc/group", 4)
	if err != nil {
		return nil, err
	}
	u := &User{}
	line, id, err := lookUp(passwd, user)
	switch {
	case err != nil:
		return nil, fmt.Errorf("user %s: %w in the image's /etc/passwd", strconv.Quote(clip(user)), err)
	case line == nil:
		u.UID, u.GID = id, id
	default:
		u.UID, u.Name, u.Home = id, line[0], line[5]
		if u.GID, err = parseID(line[3]); err != nil {
			return nil, fmt.Errorf("user %s: group %w in the image's /etc/passwd", strconv.Quote(clip(user)), err)
		}
	}
	if named {
		if _, u.GID, err = lookUp(groups, group); err != nil {
			return nil, fmt.Errorf("group %s: %w in the image's /etc/group", strconv.Quote(clip(group)), err)
		}
		return u, nil
	}
	for _, g := range groups {
		if u.Name == "" || !slices.Contains(strings.Split(g[3], ","), u.Name) {
			continue
		}
		gid, err := parseID(g[2])
		if err != nil {
			return nil, fmt.Errorf("group %s: %w in the image's /etc/group", strconv.Quote(clip(g[0])), err)
		}
		if gid != u.GID && !slices.Contains(u.Groups, gid) {
			u.Groups = append(u.Groups, gid)
		}
	}
	return u, nil
}

// database reads a file of lines with at least n fields between colons. A file
// that is not there is empty. Comments, and the lines of NIS that begin with a
// sign, are left out; so is what has too few fields, since nothing can be named
// by it.
func database(layers []string, name string, n int) ([][]string, error) {
	b, err := ReadFile(layers, name, maxDatabase)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the image's users cannot be looked up: %w", err)
	}
	var lines [][]string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.ContainsAny(line[:1], "#+-:") || strings.ContainsRune(line, 0) {
			continue
		}
		if fields := strings.Split(line, ":"); len(fields) >= n {
			lines = append(lines, fields)
		}
	}
	return lines, nil
}

// lookUp finds a name, or else a number. A number without a line has none.
func lookUp(lines [][]string, name string) (line []string, id uint32, err error) {
	for _, l := range lines {
		if l[0] == name {
			id, err = parseID(l[2])
			return l, id, err
		}
	}
	if id, err = parseID(name); err != nil {
		return nil, 0, errors.New("there is none of that name")
	}
	for _, l := range lines {
		if of, err := parseID(l[2]); err == nil && of == id {
			return l, id, nil
		}
	}
	return nil, id, nil
}

// parseID reads decimal digits and nothing else.
func parseID(s string) (uint32, error) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("id %s is not a number", strconv.Quote(clip(s)))
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > maxID {
		return 0, fmt.Errorf("id %s is none from 0 to %d", strconv.Quote(clip(s)), uint32(maxID))
	}
	return uint32(n), nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
