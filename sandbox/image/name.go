package image

import (
	"fmt"
	"strings"
)

// What Docker adds to a name that leaves it out (distribution/reference).
const (
	defaultDomain = "docker.io"
	legacyDomain  = "index." + defaultDomain
	officialRepo  = "library/"
	defaultTag    = "latest"
)

// maxName is the longest repository name, domain and all, in bytes.
const maxName = 255

// Name is a reference with everything filled in: domain, repository, and a tag
// or a digest or both.
type Name struct {
	Domain, Path string
	Tag          string // "" only where there is a Digest
	Digest       Digest
}

// ParseName reads a reference as Docker does: "debian" is
// DOMAIN/library/debian:latest, and the first part is a domain only where it
// has a dot, a colon or a capital letter, or is "localhost".
func ParseName(s string) (Name, error) {
	refuse := func(why string) error { return fmt.Errorf("invalid reference %q: %s", clip(s), why) }
	rest := s
	var n Name
	if before, digest, ok := strings.Cut(rest, "@"); ok {
		d, err := ParseDigest(digest)
		if err != nil {
			return Name{}, refuse(err.Error())
		}
		n.Digest, rest = d, before
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.Contains(rest[i:], "/") {
		n.Tag, rest = rest[i+1:], rest[:i]
		if !validTag(n.Tag) {
			return Name{}, refuse("a tag has up to 128 letters, digits, dots, dashes and underscores, and starts with none of the first two marks")
		}
	}
	if len(rest) == 64 && isHex(rest) {
		return Name{}, refuse("64 hexadecimal digits are an id, not a name")
	}
	n.Domain, n.Path = defaultDomain, rest
	if first, after, ok := strings.Cut(rest, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost" || strings.ToLower(first) != first) {
		n.Domain, n.Path = first, after
	}
	if n.Domain == legacyDomain {
		n.Domain = defaultDomain
	}
	if n.Domain == defaultDomain && !strings.Contains(n.Path, "/") {
		n.Path = officialRepo + n.Path
	}
	if n.Path != strings.ToLower(n.Path) {
		return Name{}, refuse("a repository's name is in lower case")
	}
	if !validDomain(n.Domain) {
		return Name{}, refuse("its first part is not a host name")
	}
	if len(n.Domain)+1+len(n.Path) > maxName {
		return Name{}, refuse(fmt.Sprintf("a repository's name has at most %d bytes", maxName))
	}
	for part := range strings.SplitSeq(n.Path, "/") {
		if !validPart(part) {
			return Name{}, refuse("a name's parts are letters and digits, with single dots, one or two underscores, or dashes between them")
		}
	}
	if n.Tag == "" && n.Digest == "" {
		n.Tag = defaultTag
	}
	return n, nil
}

// validTag is [A-Za-z0-9_][A-Za-z0-9._-]{0,127}.
func validTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if !alphanumeric(s[i]|0x20) && !alphanumeric(s[i]) && s[i] != '_' && s[i] != '.' && s[i] != '-' {
			return false
		}
	}
	return true
}

// validPart is [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func validPart(s string) bool {
	if s == "" || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if alphanumeric(s[i]) {
			i++
			continue
		}
		j := i
		for j < len(s) && s[j] == s[i] {
			j++
		}
		switch run := j - i; {
		case !alphanumeric(s[j]):
			return false // two kinds of marks beside each other
		case s[i] == '.' && run == 1, s[i] == '_' && run <= 2, s[i] == '-':
		default:
			return false
		}
		i = j
	}
	return true
}

// validDomain is host[:port], the host in brackets where it is an IPv6 address.
func validDomain(s string) bool {
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
		if port == "" || strings.Trim(port, "0123456789") != "" {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && inner != "" && strings.Trim(strings.ToLower(inner), "0123456789abcdef:") == ""
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i] | 0x20; !alphanumeric(label[i]) && !alphanumeric(c) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

func alphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// String is the whole reference; ParseName gives the same Name for it.
func (n Name) String() string {
	s := n.Domain + "/" + n.Path
	if n.Tag != "" {
		s += ":" + n.Tag
	}
	if n.Digest != "" {
		s += "@" + string(n.Digest)
	}
	return s
}

// Repository is the familiar name without tag and digest: what Docker adds is
// left out again.
func (n Name) Repository() string {
	if n.Domain != defaultDomain {
		return n.Domain + "/" + n.Path
	}
	if p, ok := strings.CutPrefix(n.Path, officialRepo); ok && !strings.Contains(p, "/") {
		return p
	}
	return n.Path
}

// Familiar is the reference as people write it: "debian:12".
func (n Name) Familiar() string {
	s := n.Repository()
	if n.Tag != "" {
		s += ":" + n.Tag
	}
	if n.Digest != "" {
		s += "@" + string(n.Digest)
	}
	return s
}
