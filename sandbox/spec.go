package sandbox

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/launch"
)

// Spec is a job with every default filled in. Make one with NewSpec and change
// what needs changing.
type Spec struct {
	// Policy is what the job may use. It is not changed.
	Policy *policy.Policy
	// Args is the command with its arguments. A name without a slash is looked
	// up along PATH inside the sandbox.
	Args []string
	// Env is the job's whole environment, "NAME=value".
	Env []string
	// Layers are the directories that the root file system "image:REFERENCE" is
	// made of, absolute and bottom first, each an unpacked OCI layer as overlayfs
	// with userxattr has it. They are never written. At most plan.MaxLayers.
	Layers []string
	// LayerMap is the mapping that the layers were unpacked with: MapKeepID, where
	// the image's id KeepAs is the caller and all others are subordinate ones,
	// MapIsolated, where all are, or MapSingle, where all files are the caller's.
	LayerMap policy.UserMap
	// KeepAs is the id inside, of users and groups, that the caller has with map
	// keep-id. It is that with which Layers were unpacked; without Layers 0 means
	// the job's own ids.
	KeepAs uint32
	// Groups are the job's supplementary groups.
	Groups []uint32
	// Dir is the caller's directory, absolute: relative commands that the
	// policy copies in are relative to it.
	Dir string
	// Home is the caller's home directory, which is not given whole.
	Home string
	// Private are directories that decide about later runs, brig's cache, its
	// configuration and its images: no job may write them, or what holds them.
	Private []string
	// Hostname is the sandbox's host name.
	Hostname string
	// Stdin, Stdout and Stderr are the caller's streams; nil is the null
	// device. The job never gets them: it gets pipes or a terminal of its own,
	// and brig copies.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal gives the job a terminal of its own, which reads from this one
	// of the caller's and shows what it prints on Stdout, where that is a file,
	// else here. Stdin and Stderr are not used then.
	Terminal *os.File
	// Filter looks up a compiled seccomp filter by its key (seccomp.Key); nil
	// or a miss means to ask the cache and the compiler. Programs that import
	// package configs pass configs.Filter.
	Filter func(key string) ([]byte, bool)
	// CgroupManager says who makes the sandbox's control group: "systemd",
	// "cgroupfs", or "none" for no group; "" is whichever this host has.
	CgroupManager string
	// Started, where it is not nil, is told of the sandbox when it exists.
	Started func(*Sandbox)
	// Child is a process made ahead of time by launch.Clone, with
	// launch.DefaultNamespaces and the caller's ids, while the policy was still
	// being read; nil to make one when it is needed. Start takes it over, also
	// where it fails.
	Child *launch.Child
	// Resolved, where it is not nil, is told what will be done, before it is.
	Resolved func(*Resolution)
	// Stored says that files of the sandbox's ids outlive it, or did so before it:
	// called by root, the ids are then those of userns.StoredRange, instead of
	// some that nobody has. UseImage sets it, and Keep has the same effect.
	Stored bool
	// CowOwner are the ids of the host, user and group, to which the owner of each
	// directory given cow is to belong where root calls: those of the job whose
	// view of it is looked at. nil for this job's own.
	CowOwner *[2]uint32
	// Missing are directories that an image wants to be there and has not, Notes
	// what the plan says of it. UseImage sets both.
	Missing, Notes []string
	// Stop is how the job is asked to end; the zero value does not ask.
	Stop Stop
	// Keep, where it is not nil, makes what the job changes last.
	Keep *Keep
	// StopAt is launch.Config.StopAt: for tests of what brig leaves behind.
	StopAt int
}

// takeChild hands the child made ahead of time over, once.
func (s *Spec) takeChild() *launch.Child {
	c := s.Child
	s.Child = nil
	return c
}

// DefaultHostname is the host name of sandboxes that are not given one.
const DefaultHostname = "brig"

// NewSpec returns the spec of a command under a policy: with the policy's
// environment, this process's directory, and no streams.
func NewSpec(p *policy.Policy, args ...string) *Spec {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	return &Spec{Policy: p, Args: args, Env: Environment(p, os.LookupEnv), Dir: dir, Home: os.Getenv("HOME"), Private: private(), Hostname: DefaultHostname}
}

// private lists the caller's directories of brig's own.
func private() []string {
	var list []string
	for _, of := range []func() (string, error){os.UserCacheDir, os.UserConfigDir} {
		if dir, err := of(); err == nil {
			list = append(list, filepath.Join(dir, "brig"))
		}
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		list = append(list, filepath.Join(dir, "brig"))
	} else if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		list = append(list, filepath.Join(home, ".local/share/brig"))
	}
	return list
}

// Environment is the environment a policy gives: the caller's variables that it
// names, as lookup finds them, the ones it sets, and HOME and USER where it
// leaves them open. The result is sorted.
func Environment(p *policy.Policy, lookup func(string) (string, bool)) []string {
	u := jobUser(p)
	env := map[string]string{"HOME": u.home, "USER": u.name, "PATH": defaultPath}
	return environment(p, lookup, env)
}

const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// user is the job's user as the sandbox's passwd has it.
type user struct{ name, home string }

func jobUser(p *policy.Policy) user {
	if p.User.UID == 0 {
		return user{"root", "/root"}
	}
	return user{"job", "/home/job"}
}

// getenv looks a variable up in an environment; the last one of a name counts,
// as execve's callers see it.
func getenv(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v
		}
	}
	return ""
}
