package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/configs/compiled"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/engine"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// runFlags are the flags of `brig run`.
type runFlags struct {
	asked       *asked // the flags that are wanted; nil for all
	flags       *pflag.FlagSet
	policyName  string
	overrides   []policy.Override
	envFiles    []string
	hostname    string
	image       bool // --image is there
	user        string
	entrypoint  string
	pull        string
	capAdd      []string
	ownPath     bool   // -e PATH
	dir         string // the caller's directory, set by policy
	stdin       string
	stdout      string
	stderr      string
	interactive bool
	tty         bool
	result      string
	meta        string
	plan        string
	quiet       bool
	cgroups     string
	stats       bool
	logLevel    string
	level       int
	stopAt      int
	stopSignal  string
	stopTimeout string
	keep        bool
	review      bool
	name        string
	kept        *engine.Container // that of this run
	noOutput    bool              // start --attach=false
}

// override is a flag's value that becomes an Override.
type override struct {
	f    *runFlags
	make func(value string) policy.Override
	kind string
	// refuse says what is wrong with a value that no policy could take; nil
	// where the policy says it.
	refuse func(value string) error
}

func (o override) String() string { return "" }
func (o override) Type() string   { return o.kind }

// Set implements pflag.Value. What is wrong with a value is said when the
// policy is loaded, together with all else that is wrong.
func (o override) Set(value string) error {
	if o.refuse != nil {
		if err := o.refuse(value); err != nil {
			return err
		}
	}
	o.f.overrides = append(o.f.overrides, o.make(value))
	return nil
}

// register adds the flags, in the order of the help text.
func (f *runFlags) register(cmd *cobra.Command) {
	fl := someFlags{cmd.Flags(), f.asked}
	f.flags = fl.FlagSet
	fl.SetInterspersed(false)
	fl.SortFlags = false
	key := func(name, short, key, kind, usage string) {
		fl.VarP(override{f, func(v string) policy.Override {
			return policy.Override{Key: key, Value: v, Origin: "--" + name}
		}, kind, nil}, name, short, usage)
	}
	with := func(name, short, kind, usage string, of func(value, flag string) policy.Override) {
		fl.VarP(override{f, func(v string) policy.Override { return of(v, "--"+name) }, kind, nil}, name, short, usage)
	}
	fl.StringVar(&f.policyName, "policy", "default", "policy: a name or a file (see brig policy list; with --image: image)")
	key("workdir", "w", "filesystem.workdir", "dir", "working directory inside")
	with("volume", "v", "src:dst[:mode]", "give a directory or file: ro, rw, cow or copy (default rw)", policy.AddVolume)
	with("tmpfs", "", "dst[:size=n]", "mount an empty tmpfs", policy.AddTmpfs)
	with("rootfs", "", "dir", "use a directory as root file system, copy-on-write", func(v, flag string) policy.Override {
		return policy.Override{Key: "filesystem.root", Value: "dir:" + v, Origin: flag}
	})
	with("image", "", "name", "use an image as root file system, and run it as it says", func(v, flag string) policy.Override {
		f.image = true
		return policy.Override{Key: "filesystem.root", Value: "image:" + v, Origin: flag}
	})
	fl.StringVar(&f.entrypoint, "entrypoint", "", "program to run instead of the image's entry point and command")
	fl.StringVar(&f.pull, "pull", pullMissing, "get the image from its registry: missing, always or never")
	with("env", "e", "name[=value]", "set a variable, or pass the caller's on", f.variable)
	fl.StringArrayVar(&f.envFiles, "env-file", nil, "read variables from a file")
	with("user", "u", "uid[:gid]", "the job's ids inside; with --image also names of the image's", func(v, _ string) policy.Override {
		f.user = v
		return policy.Override{}
	})
	key("userns", "", "user.map", "map", "id mapping: isolated, keep-id, single or auto")
	fl.StringVar(&f.hostname, "hostname", sandbox.DefaultHostname, "host name inside")
	key("read-only", "", "filesystem.read_only", "bool", "make the root file system read-only")
	fl.noValue("read-only", "true")
	key("memory", "m", "limits.memory", "size", "memory, scratch included; no unit is bytes")
	with("memory-swap", "", "size", "memory and swap together; -1 is unlimited", policy.SetMemorySwap)
	key("memory-reservation", "", "limits.memory_low", "size", "memory that is protected from reclaim")
	key("cpus", "", "limits.cpus", "number", "how many CPUs may be used at a time")
	with("cpu-quota", "", "usec", "CPU time in each period, instead of --cpus", policy.SetCPUQuota)
	with("cpu-period", "", "usec", "the period of --cpu-quota (default 100000)", policy.SetCPUPeriod)
	with("cpu-shares", "c", "n", "share of the CPUs beside other jobs (default 1024)", policy.SetCPUShares)
	key("cpuset-cpus", "", "limits.cpuset", "list", `the CPUs that may be used ("0-1,3")`)
	key("cpuset-mems", "", "limits.cpuset_mems", "list", "the memory nodes that may be used")
	key("pids-limit", "", "limits.pids", "n", "processes and threads")
	with("device-read-bps", "", "path:size", "bytes read in a second from the device behind a path", policy.SetReadBPS)
	with("device-write-bps", "", "path:size", "bytes written in a second", policy.SetWriteBPS)
	with("device-read-iops", "", "path:n", "reads in a second", policy.SetReadIOPS)
	with("device-write-iops", "", "path:n", "writes in a second", policy.SetWriteIOPS)
	with("ulimit", "", "name=soft[:hard]", "set an rlimit", policy.SetUlimit)
	key("wall-time", "", "limits.wall_time", "time", "real time")
	with("timeout", "", "seconds", "real time, as podman has it", policy.SetTimeout)
	key("cpu-time", "", "limits.cpu_time", "time", "user and system time of all processes")
	key("output-limit", "", "limits.output", "size", "standard output and error together")
	key("scratch-size", "", "limits.scratch", "size", "space for what is written")
	with("storage-opt", "", "size=n", "the same, as docker has it", policy.SetStorageOption)
	fl.StringVar(&f.cgroups, "cgroup-manager", "", "who makes the control group: systemd, cgroupfs or none (default: what is there)")
	key("network", "", "network.mode", "mode", "none or host")
	fl.Var(override{f, securityOption, "option", refuseSecurityOption}, "security-opt", "seccomp=unconfined|default|strict, writable-cgroups, no-new-privileges (always on)")
	with("cap-add", "", "name", "keep a capability", func(v, flag string) policy.Override {
		f.capAdd = append(f.capAdd, v)
		return policy.AddCapability(v, flag)
	})
	with("cap-drop", "", "name", "drop a capability that the policy keeps", policy.DropCapability)
	f.registerStreams(fl)
	fl.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal of its own")
	fl.StringVar(&f.stopSignal, "stop-signal", "", "signal that asks the command to end when brig is asked to (default: the image's, else none)")
	fl.StringVar(&f.stopTimeout, "stop-timeout", "10s", "how long it then has, with a unit or in seconds")
	fl.BoolVar(&f.keep, "keep", false, "keep what the command changed, as a container (see brig start, brig commit)")
	fl.BoolVar(&f.review, "review", false, "when the command has ended, show what it changed and ask what becomes of it")
	fl.StringVar(&f.name, "name", "", "the container's name, with --keep (default: one is made up)")
	fl.StringVar(&f.plan, "plan", "", "print what would be done, as text or json, and run nothing")
	fl.noValue("plan", "text")
	f.registerReports(fl)
	fl.IntVar(&f.stopAt, "debug-stop-at", 0, "stop before an op of the plan, to test what is left behind")
	_ = fl.MarkHidden("debug-stop-at")
	cmd.SetFlagErrorFunc(explainFlag)
}

// registerStreams adds the flags for the job's streams.
func (f *runFlags) registerStreams(fl someFlags) {
	fl.StringVar(&f.stdin, "stdin", "", "read standard input from a file")
	fl.StringVar(&f.stdout, "stdout", "", "write standard output to a file")
	fl.StringVar(&f.stderr, "stderr", "", "write standard error to a file")
	fl.BoolVarP(&f.interactive, "interactive", "i", false, "pass standard input on even when it is a terminal")
}

// registerReports adds the flags for what brig says of a run.
func (f *runFlags) registerReports(fl someFlags) {
	fl.StringVar(&f.result, "result", "", "write the result as JSON to a file, fd:N or - (needs --stdout)")
	fl.StringVar(&f.meta, "meta", "", "write the result as isolate's meta file to a file or fd:N")
	fl.BoolVar(&f.stats, "stats", false, "print a line a second on stderr about what the job uses")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing about limits; the exit code and --result tell")
	fl.StringVar(&f.logLevel, "log-level", "warn", "how much brig says on stderr: error, warn, info or debug")
}

// writableCgroups is docker's option for limits.delegate_cgroup.
const writableCgroups = "writable-cgroups"

// securityOption is docker's --security-opt, as far as it makes sense here.
func securityOption(v string) policy.Override {
	const flag = "--security-opt"
	name, value, _ := strings.Cut(v, "=")
	switch {
	case name == writableCgroups:
		return policy.Override{Key: "limits.delegate_cgroup", Value: cmp.Or(value, "true"), Origin: flag}
	case name == "seccomp" && value == "unconfined":
		return policy.Override{Key: "seccomp.base", Value: "none", Origin: flag}
	case name == "seccomp":
		return policy.Override{Key: "seccomp.base", Value: value, Origin: flag}
	case v == "no-new-privileges" || v == "no-new-privileges=true" || v == "no-new-privileges:true":
		return policy.Override{}
	}
	return policy.Override{}
}

func refuseSecurityOption(v string) error {
	name, value, _ := strings.Cut(v, "=")
	switch {
	case name == writableCgroups && (v == name || value == "true" || value == "false"):
		return nil
	case name == writableCgroups:
		return fmt.Errorf("%s is true or false", name)
	case name == "seccomp" && value != "", v == "no-new-privileges", v == "no-new-privileges=true", v == "no-new-privileges:true":
		return nil
	case strings.HasPrefix(v, "no-new-privileges"):
		return errors.New("no_new_privs is always on: it cannot be taken off")
	}
	return errors.New("use seccomp=default, seccomp=strict or seccomp=unconfined, or a policy's [seccomp] table; writable-cgroups=true|false; no-new-privileges is always on")
}

// The log levels.
const (
	levelError = iota
	levelWarn
	levelInfo
	levelDebug
)

// policy loads the policy with the flags on top.
func (f *runFlags) policy() (*policy.Policy, error) {
	if err := f.logging(); err != nil {
		return nil, err
	}
	if f.plan != "" && f.plan != "text" && f.plan != "json" {
		return nil, fmt.Errorf("--plan=%q\n  fix: use --plan or --plan=json", f.plan)
	}
	var overrides []policy.Override
	for _, name := range f.envFiles {
		vars, err := readEnvFile(name)
		if err != nil {
			return nil, err
		}
		for _, v := range vars {
			overrides = append(overrides, f.variable(v, "--env-file "+name))
		}
	}
	for _, o := range f.overrides {
		if o != (policy.Override{}) {
			overrides = append(overrides, o)
		}
	}
	if f.flags.Changed("user") && !f.image {
		overrides = append(overrides, policy.SetUser(f.user, "--user"))
	}
	opts, err := policyOptions(f.policyName)
	if err != nil {
		return nil, err
	}
	f.dir = opts.Dir
	opts.Overrides = overrides
	opts.Compiled = compiled.Policy
	p, _, err := policy.Load(opts)
	return p, err
}

// logging reads how much brig is to say.
func (f *runFlags) logging() error {
	switch f.logLevel {
	case "error":
		f.level = levelError
	case "warn":
		f.level = levelWarn
	case "info":
		f.level = levelInfo
	case "debug":
		f.level = levelDebug
	default:
		return fmt.Errorf("--log-level %q\n  fix: use error, warn, info or debug", f.logLevel)
	}
	if f.quiet {
		f.level = levelError
	}
	return nil
}

// policyOptions says where policies are found.
func policyOptions(name string) (policy.LoadOptions, error) {
	dir, err := os.Getwd()
	if err != nil {
		return policy.LoadOptions{}, fmt.Errorf("finding the current directory: %w\n  fix: change to one that exists", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return policy.LoadOptions{}, fmt.Errorf("finding the current directory: %w\n  fix: change to one that exists", err)
	}
	opts := policy.LoadOptions{
		Name: name, Shipped: configs.FS, Files: os.DirFS("/"), SystemDir: "/etc/brig", Dir: dir,
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		opts.HomeDir = filepath.Clean(home)
		if resolved, err := filepath.EvalSymlinks(home); err == nil {
			opts.HomeDir = resolved
		}
		opts.UserDir = filepath.Join(opts.HomeDir, ".config", "brig")
	}
	if config := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(config) {
		opts.UserDir = filepath.Join(config, "brig")
	}
	if os.Getuid() == 0 && !roots(opts.UserDir) {
		opts.UserDir = ""
	}
	return opts, nil
}

// roots tells whether a directory is root's alone to write. Under sudo HOME may
// still be another user's, whose policies must not loosen root's.
func roots(dir string) bool {
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && st.Uid == 0 && st.Mode&0o022 == 0
}

func planJSON(res *sandbox.Resolution) ([]byte, error) { return plan.Encode(res.Plan) }
