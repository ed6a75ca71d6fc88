package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// maxName is how long a name may be, in bytes.
const maxName = 64

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// CheckName tells whether a name is one that containers may have: those that
// Docker takes, and no longer than 64 bytes.
func CheckName(name string) error {
	if len(name) > 1 && len(name) <= maxName && strings.Contains(letters, name[:1]) && strings.Trim(name, letters+"_.-") == "" || len(name) == 1 && strings.Contains(letters, name) {
		return nil
	}
	return fmt.Errorf("%q is no name for a container\n  fix: use 1 to %d letters, digits, dots, hyphens and underscores, the first a letter or digit", clip(name), maxName)
}

// The halves of made-up names: what a ship is like, and what is on one.
var (
	adjectives = [...]string{
		"able", "amber", "bold", "brisk", "calm", "clever", "dapper", "eager", "early", "fair", "fleet", "gentle", "glad", "hardy",
		"hazy", "keen", "light", "lively", "lucky", "mellow", "merry", "nimble", "patient", "plucky", "proud", "quick", "quiet",
		"ready", "rugged", "salty", "sharp", "silent", "sober", "steady", "stout", "sunny", "swift", "tidy", "trim", "trusty",
		"upright", "vivid", "wary", "wise", "witty", "young", "zealous",
	}
	nouns = [...]string{
		"anchor", "ballast", "beacon", "binnacle", "bollard", "boom", "bosun", "bow", "bulwark", "buoy", "cable", "capstan", "chart",
		"cleat", "compass", "crew", "davit", "deck", "dory", "fender", "galley", "gunwale", "halyard", "hatch", "hawser", "helm",
		"hold", "hull", "jib", "keel", "lantern", "ledger", "log", "mast", "mizzen", "mooring", "oar", "pilot", "pennant", "quay",
		"rigging", "rope", "rudder", "sail", "sextant", "shroud", "skiff", "spar", "stern", "tiller", "topsail", "yard",
	}
)

func pick(from []string) string {
	var raw [4]byte
	_, _ = rand.Read(raw[:]) // it never fails
	return from[binary.NativeEndian.Uint32(raw[:])%uint32(len(from))]
}

// freeName makes a name up. The caller holds the store's lock.
func (s *Store) freeName() (string, error) {
	list, err := s.List()
	if err != nil {
		return "", err
	}
	taken := map[string]bool{}
	for _, c := range list {
		taken[c.Name] = true
	}
	for try := range 1000 {
		name := pick(adjectives[:]) + "_" + pick(nouns[:])
		if try >= 10 {
			name += fmt.Sprint(try - 9)
		}
		if !taken[name] {
			return name, nil
		}
	}
	return "", errors.New("no name is left\n  fix: choose one with --name, or remove containers: brig rm")
}
