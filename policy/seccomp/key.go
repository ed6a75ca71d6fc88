package seccomp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
)

// Key names the program that the settings give on an architecture: a SHA-256 in
// hexadecimal over their canonical form and over the data of the profiles.
// Orders that do not matter and capabilities that change nothing do not change
// it. It checks nothing: settings that Resolve refuses have a key and no program.
func Key(s Settings, o Options, arch string) string {
	k := keyHash{sha256.New()}
	k.text("brig seccomp 2", tablesDigest, arch, s.Base, onDeny(s))
	k.set(s.Allow)
	k.set(s.Deny)
	k.number(uint64(len(s.Rules)))
	for _, r := range s.Rules {
		k.set(r.Names)
		k.text(r.Action)
		k.number(uint64(len(r.Args)))
		for _, a := range r.Args {
			k.text(a.Op)
			k.number(uint64(a.Index))
			k.number(a.Value)
			k.number(a.Mask)
		}
	}
	if o.SupervisedMemory {
		k.text("supervised memory")
	}
	k.set(effectiveCaps(s.Base, o.Caps))
	return hex.EncodeToString(k.h.Sum(nil))
}

// keyHash feeds values to a hash so that no two sequences look the same.
type keyHash struct{ h hash.Hash }

func (k keyHash) number(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	k.h.Write(b[:])
}

func (k keyHash) text(list ...string) {
	for _, s := range list {
		k.number(uint64(len(s)))
		k.h.Write([]byte(s))
	}
}

// set adds names without their order and repetitions.
func (k keyHash) set(names []string) {
	sorted := sortedSet(names)
	k.number(uint64(len(sorted)))
	k.text(sorted...)
}

// sortedSet is a sorted copy without repetitions.
func sortedSet(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// onDeny is the action of a denial, spelt out.
func onDeny(s Settings) string {
	if s.OnDeny == "" {
		return "EPERM"
	}
	return s.OnDeny
}

// effectiveCaps are the capabilities that open calls in the base.
func effectiveCaps(base string, caps []string) []string {
	if base != BaseDefault {
		return nil
	}
	var out []string
	for _, c := range caps {
		if slices.Contains(openingCaps[:], c) {
			out = append(out, c)
		}
	}
	return out
}

// openingCaps are the capabilities with which the default profile allows calls
// that it denies otherwise. All others of Docker's profile open calls that stay
// denied here (see hardened).
var openingCaps = [...]string{
	"CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_NICE", "CAP_SYS_PTRACE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_SYSLOG",
}
