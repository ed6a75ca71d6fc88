package policy

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// ParseVolume reads docker's -v: SOURCE:TARGET[:OPTION,...]. The options are
// ro, rw, cow or copy, and optional; without an access it is rw, as docker has
// it. A relative source counts from dir, which is absolute. There are no named
// volumes: a source is a path.
func ParseVolume(s, dir string) (Mount, error) { return parseVolume(s, dir, "") }

func parseVolume(s, dir, home string) (Mount, error) {
	m := Mount{Type: Bind, Access: ReadWrite}
	parts := strings.Split(s, ":")
	switch {
	case len(parts) < 2:
		return m, errors.New("it is not SOURCE:TARGET[:ro|rw|cow|copy]; for an empty directory there is --tmpfs TARGET")
	case len(parts) > 3:
		return m, errors.New("it has too many colons; a path with a colon can be given in a policy file")
	}
	source := parts[0]
	if why := checkPath(source); why != "" {
		return m, fmt.Errorf("source %s: %s", quote(source), why)
	}
	if source != "." && source != ".." && source != "~" && !strings.Contains(source, "/") {
		return m, fmt.Errorf("source %s is not a path, and there are no named volumes; write %s", quote(source), quote("./"+source))
	}
	m.Source = anchor(dir, home, source)
	var err error
	if m.Target, err = flagTarget(parts[1]); err != nil {
		return m, err
	}
	if len(parts) == 3 {
		err = volumeOptions(&m, parts[2])
	}
	return m, err
}

// flagTarget is more patient than a policy file: a trailing slash is common.
func flagTarget(target string) (string, error) {
	if path.Clean(target)+"/" == target {
		target = path.Clean(target)
	}
	if why := checkTarget(target); why != "" {
		return "", fmt.Errorf("target %s: %s", quote(target), why)
	}
	return target, nil
}

func volumeOptions(m *Mount, options string) error {
	seen := ""
	for option := range strings.SplitSeq(options, ",") {
		switch Access(option) {
		case ReadOnly, ReadWrite, CopyOnWrite, Copy:
			if seen != "" {
				return fmt.Errorf("both %s and %s are given", seen, option)
			}
			seen = option
			m.Access = Access(option)
			continue
		}
		if option != "optional" {
			return fmt.Errorf("option %s is none of ro, rw, cow, copy and optional", quote(option))
		}
		m.Optional = true
	}
	return nil
}

// parseTmpfs reads docker's --tmpfs: TARGET[:OPTION,...]. The options are
// size=SIZE, ro and rw; nosuid and nodev are accepted since they always hold.
func parseTmpfs(s string) (Mount, error) {
	m := Mount{Type: Tmpfs, Access: ReadWrite}
	target, options, more := strings.Cut(s, ":")
	var err error
	if m.Target, err = flagTarget(target); err != nil || !more {
		return m, err
	}
	for option := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(option, "=")
		switch {
		case name == "size":
			if problem := mountTable.find("size").setText(value, true, &m.Size); problem != "" {
				return m, errors.New("size: " + problem)
			}
		case option == "ro" || option == "rw":
			m.Access = Access(option)
		case option == "nosuid" || option == "nodev":
		default:
			return m, fmt.Errorf("option %s is none of size=SIZE, ro, rw, nosuid and nodev", quote(option))
		}
	}
	return m, nil
}
