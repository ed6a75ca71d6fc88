package engine

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// RecordVersion is the version of container.json that this package writes.
const RecordVersion = 1

// Record is what container.json holds.
type Record struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Image is nil where the root is the host's or a directory.
	Image *ImageRef `json:"image,omitempty"`
	// Root is filesystem.root of the policy: "host", "dir:PATH", "image:NAME".
	Root string `json:"root"`
	// Policy is the name of the policy as it was asked for; policy.toml holds
	// what came of it.
	Policy string `json:"policy"`
	Job    Job    `json:"job"`
	// IDs are the mappings of every run: what belongs to an id of the job's
	// belongs to it for ever.
	IDs plan.IDs `json:"ids"`
	// Layers are the overlays, in the order of their numbers. See
	// Container.Overlays for their paths.
	Layers []Layer `json:"overlays"`
	// Own are paths inside that brig makes anew for each run: files, links and
	// directories of its own layer.
	Own []string `json:"own,omitempty"`
	// Given are the targets of what was given to the container: mounts, and
	// copies. What an upper has at and below them, a root's also below /dev,
	// /proc and /sys, is not what the job made.
	Given []Bytes `json:"given,omitempty"`
	Run   *Run    `json:"run,omitempty"` // the last one
}

// ImageRef names the image that a container was made of.
type ImageRef struct {
	Ref      string `json:"ref"`      // as the user gave it
	Manifest string `json:"manifest"` // digest
	ID       string `json:"id"`       // digest of the config
	Map      string `json:"map"`      // the mapping of its trees, see image.MapName
}

// Job is what a container runs, with nothing left to decide.
type Job struct {
	Args     []Bytes  `json:"args"`
	Env      []Bytes  `json:"env"`
	Dir      Bytes    `json:"dir"` // the caller's directory when it was made
	Hostname string   `json:"hostname"`
	Groups   []uint32 `json:"groups,omitempty"`
	// Missing are directories that the image wants and has not.
	Missing  []Bytes `json:"missing,omitempty"`
	Terminal bool    `json:"terminal,omitempty"`
	// Cgroups is sandbox.Spec.CgroupManager.
	Cgroups     string        `json:"cgroup_manager,omitempty"`
	StopSignal  int           `json:"stop_signal,omitempty"`
	StopTimeout time.Duration `json:"stop_timeout,omitempty"` // nanoseconds
}

// LayerKind says what an overlay is.
type LayerKind string

// The kinds of overlays.
const (
	RootLayer LayerKind = "root" // the root file system
	CowLayer  LayerKind = "cow"  // a directory of the host's, given copy-on-write
)

// Layer is an overlay as the record has it.
type Layer struct {
	Kind   LayerKind `json:"kind"`
	Target Bytes     `json:"target"` // inside
	// Source is the host's directory, absolute: of a cow, or of a root that is
	// a directory. An image's trees follow from Record.Image.
	Source Bytes `json:"source,omitempty"`
	// DiffIDs are an image's layers, bottom first.
	DiffIDs []string `json:"diff_ids,omitempty"`
}

// Run is how a container ran last.
type Run struct {
	// PID is brig's, and Since its start in ticks after boot (proc_pid_stat(5)),
	// so that no other process is taken for it.
	PID   int    `json:"pid"`
	Since uint64 `json:"since"`

	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"` // zero: it runs, or brig was killed
	Outcome  string    `json:"outcome,omitempty"` // see sandbox.Outcome
	ExitCode int       `json:"exit_code"`         // brig's: the job's own, 128+n, 124, 125, ...
	Message  string    `json:"message,omitempty"`
}

// Bytes is a string that need not be UTF-8, such as an argument or a path. In
// JSON it is a string where it can be, else {"base64": "..."}.
type Bytes string

// MarshalJSON implements json.Marshaler.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(b)) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString([]byte(b))})
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err == nil {
		*b = Bytes(s)
		return nil
	}
	var o struct {
		Base64 *string `json:"base64"`
	}
	if err := json.Unmarshal(text, &o); err != nil || o.Base64 == nil {
		return errors.New("neither a string nor base64")
	}
	raw, err := base64.StdEncoding.DecodeString(*o.Base64)
	*b = Bytes(raw)
	return err
}

// List turns strings into Bytes.
func List(list []string) []Bytes {
	out := make([]Bytes, len(list))
	for i, s := range list {
		out[i] = Bytes(s)
	}
	return out
}

// Strings turns Bytes into strings.
func Strings(list []Bytes) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}

// maxRecord bounds container.json, in bytes: arguments and environment may have
// 16 MiB each.
const maxRecord = 64 << 20

func parseRecord(b []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	switch {
	case r.Version != RecordVersion:
		return nil, fmt.Errorf("it has version %d, and this brig knows %d", r.Version, RecordVersion)
	case !validID(r.ID) || CheckName(r.Name) != nil:
		return nil, errors.New("its id or name is not one")
	}
	return &r, nil
}
