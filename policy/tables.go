package policy

import (
	"time"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// Version is the version of the policy format that this package reads.
const Version = 1

// The bounds of plausible values. What lies above is a typing error or meant
// to be "unlimited".
const (
	maxSize     = 1 << 50 // 1024 TiB
	maxDuration = int64(365 * 24 * time.Hour)
	minDuration = int64(time.Millisecond)
	maxID       = 1<<32 - 2 // 2^32-1 is "no id" to the kernel
	maxPIDs     = 1 << 22   // PID_MAX_LIMIT of the kernel
	maxFiles    = 1 << 20   // the kernel's default fs.nr_open
	maxCPUs     = 8192
	maxInodes   = 1 << 32
	maxRate     = 1<<32 - 2 // operations per second: io.max holds 32 bits, all of them set for no limit
)

// policyTable is a whole policy file.
var policyTable = table{keys: []key{
	{
		name: "version", kind: kindNumber, field: func(v any) any { return &v.(*Policy).Version },
		min: Version, max: Version, required: true, example: `1`,
		doc: `The version of this format.`,
	},
	{
		name: "description", kind: kindString, field: func(v any) any { return &v.(*Policy).Description },
		check: checkText, example: `"a submission, already compiled"`,
		doc: `One line for people.`,
	},
	{
		name: "extends", kind: kindString,
		check: checkPath, example: `"strict"`,
		doc: `The policy that this one changes: the name of a shipped policy, or a file (with a / or the ending .toml) relative to this one. At most 8 policies in a chain.`,
	},
	{
		name: "limits", kind: kindTable,
		table: &limitsTable,
		doc:   `What the whole sandbox may consume. "unlimited" is spelt out where it is meant.`,
	},
	{
		name: "enforcement", kind: kindTable,
		table: &enforcementTable,
		doc:   `Which mechanisms are good enough.`,
	},
	{
		name: "filesystem", kind: kindTable,
		table: &filesystemTable,
		doc:   `The root file system and what is mounted into it.`,
	},
	{
		name: "user", kind: kindTable,
		table: &userTable,
		doc:   `Whose ids the job runs with.`,
	},
	{
		name: "network", kind: kindTable,
		table: &networkTable,
		doc:   `What the job can reach.`,
	},
	{
		name: "seccomp", kind: kindTable,
		table: &seccompTable,
		doc:   `Which system calls the job may make.`,
	},
	{
		name: "environment", kind: kindTable,
		table: &environmentTable,
		doc:   `The variables of the job: the inherited ones, then the given ones.`,
	},
}}

// enforcementTable is [enforcement].
var enforcementTable = table{keys: []key{
	{
		name: "limits", kind: kindString, field: func(v any) any { return &v.(*Policy).Enforcement.Limits },
		accept: []string{string(KernelOnly), string(KernelOrSupervised), string(BestEffort)},
		doc:    `kernel refuses to run when the kernel cannot hold a limit; kernel-or-supervised lets brig watch over it instead; best-effort runs anyway and reports what did not hold.`,
	},
}}

// filesystemTable is [filesystem].
var filesystemTable = table{keys: []key{
	{
		name: "root", kind: kindString, field: func(v any) any { return &v.(*Policy).Filesystem.Root },
		check: checkRoot, example: `"host", "dir:./rootfs" or "image:debian:12"`,
		doc: `The root file system: the host's system directories read-only, a directory, or an image.`,
	},
	{
		name: "read_only", kind: kindBool, field: func(v any) any { return &v.(*Policy).Filesystem.ReadOnly },
		doc: `No writable layer: only mounts with rw, cow or copy and tmpfs can be written.`,
	},
	{
		name: "workdir", kind: kindString, field: func(v any) any { return &v.(*Policy).Filesystem.Workdir },
		check: checkWorkdir, example: `"/work"`,
		doc: `The job's working directory. Empty for the target of the first mount of the caller's directory, else /.`,
	},
	{
		name: "copy_command", kind: kindBool, field: func(v any) any { return &v.(*Policy).Filesystem.CopyCommand },
		doc: `Copy the command's own file into the working directory when it lies outside the root file system.`,
	},
	{
		name: "allow_home", kind: kindBool, field: func(v any) any { return &v.(*Policy).Filesystem.AllowHome },
		doc: `Let a mount give the whole home directory, / or a directory above the home directory.`,
	},
	{
		name: "mount", kind: kindTables, field: func(v any) any { return &v.(*Policy).Filesystem.Mounts },
		table: &mountTable,
		doc:   `What is mounted. An entry replaces the one with the same target of the policies below it.`,
	},
}}

// mountTable is an entry of [[filesystem.mount]].
var mountTable = table{keys: []key{
	{
		name: "type", kind: kindString, field: func(v any) any { return &v.(*Mount).Type },
		accept: []string{string(Bind), string(Tmpfs)},
		doc:    `bind gives a directory or file of the host; tmpfs is empty and in memory.`,
	},
	{
		name: "source", kind: kindString, field: func(v any) any { return &v.(*Mount).Source },
		check: checkPath, example: `"."`,
		doc: `What is given. A relative path counts from the policy file's own directory; in a shipped policy and in a flag from the caller's. ~/ is the home directory.`,
	},
	{
		name: "target", kind: kindString, field: func(v any) any { return &v.(*Mount).Target },
		check: checkTarget, required: true, example: `"/work"`,
		doc: `Where the job sees it.`,
	},
	{
		name: "access", kind: kindString, field: func(v any) any { return &v.(*Mount).Access },
		accept: []string{string(ReadOnly), string(ReadWrite), string(CopyOnWrite), string(Copy)},
		doc:    `ro; rw; cow: the job may write and the source stays as it is; copy: copied in before the start. Without it, ro for bind and rw for tmpfs.`,
	},
	{
		name: "size", kind: kindSize, field: func(v any) any { return &v.(*Mount).Size },
		min: 4 << 10, max: maxSize, example: `"64MiB"`,
		doc: `The size of a tmpfs; without it the limit of scratch.`,
	},
	{
		name: "optional", kind: kindBool, field: func(v any) any { return &v.(*Mount).Optional },
		doc: `Leave the mount out when the source does not exist.`,
	},
}}

// userTable is [user].
var userTable = table{keys: []key{
	{
		name: "map", kind: kindString, field: func(v any) any { return &v.(*Policy).User.Map },
		accept: []string{string(MapIsolated), string(MapKeepID), string(MapSingle), string(MapAuto)},
		doc:    `isolated: subordinate ids only; keep-id: the caller is uid inside, the rest subordinate; single: the caller alone; auto: the first of keep-id and single that works.`,
	},
	{
		name: "uid", kind: kindID, field: func(v any) any { return &v.(*Policy).User.UID },
		min: 0, max: maxID, example: `1000`,
		doc: `The job's user id inside.`,
	},
	{
		name: "gid", kind: kindID, field: func(v any) any { return &v.(*Policy).User.GID },
		min: 0, max: maxID, example: `1000`,
		doc: `The job's group id inside. Without it the same number as uid.`,
	},
	{
		name: "capabilities", kind: kindNames, field: func(v any) any { return &v.(*Policy).User.Capabilities },
		check: checkCapability, example: `["CAP_CHOWN"]`,
		doc: `The capabilities that the job keeps. Replaces the list of the policies below.`,
	},
}}

// networkTable is [network].
var networkTable = table{keys: []key{
	{
		name: "mode", kind: kindString, field: func(v any) any { return &v.(*Policy).Network.Mode },
		accept: []string{string(NetworkNone), string(NetworkHost), string(NetworkUser)},
		doc:    `none: a fresh stack; host: the caller's; user: a fresh stack with user-mode connectivity.`,
	},
	{
		name: "loopback", kind: kindBool, field: func(v any) any { return &v.(*Policy).Network.Loopback },
		doc: `Bring lo up in a fresh stack.`,
	},
}}

// seccompTable is [seccomp].
var seccompTable = table{keys: []key{
	{
		name: "base", kind: kindString, field: func(v any) any { return &v.(*Policy).Seccomp.Base },
		accept: []string{seccomp.BaseDefault, seccomp.BaseStrict, seccomp.BaseNone},
		doc:    `The profile to begin with: default is Docker's, hardened; strict what compiled programs and interpreters need; none is no filter.`,
	},
	{
		name: "allow", kind: kindNames, field: func(v any) any { return &v.(*Policy).Seccomp.Allow },
		check: checkSyscall, example: `["@sockets"]`,
		doc: `System calls or groups to allow. Replaces the list of the policies below.`,
	},
	{
		name: "deny", kind: kindNames, field: func(v any) any { return &v.(*Policy).Seccomp.Deny },
		check: checkSyscall, example: `["socket"]`,
		doc: `System calls or groups to deny. Added to the lists of the policies below: what is denied stays denied.`,
	},
	{
		name: "on_deny", kind: kindString, field: func(v any) any { return &v.(*Policy).Seccomp.OnDeny },
		check: checkOnDeny, example: `"EPERM" or "kill"`,
		doc: `What a denied call gets: an errno, or kill for the end of the job.`,
	},
	{
		name: "rule", kind: kindTables, field: func(v any) any { return &v.(*Policy).Seccomp.Rules },
		table: &ruleTable,
		doc:   `Decisions by arguments. Added to the rules of the policies below; one with the same names and arguments replaces the earlier.`,
	},
}}

// ruleTable is an entry of [[seccomp.rule]].
var ruleTable = table{keys: []key{
	{
		name: "names", kind: kindNames, field: func(v any) any { return &v.(*seccomp.Rule).Names },
		check: checkSyscall, required: true, example: `["personality"]`,
		doc: `The system calls or groups.`,
	},
	{
		name: "action", kind: kindString, field: func(v any) any { return &v.(*seccomp.Rule).Action },
		check: checkAction, required: true, example: `"allow", "deny", "kill" or "ENOSYS"`,
		doc: `What they get.`,
	},
	{
		name: "args", kind: kindTables, field: func(v any) any { return &v.(*seccomp.Rule).Args },
		table: &argTable,
		doc:   `Comparisons that must all hold.`,
	},
}}

// argTable is an entry of args.
var argTable = table{keys: []key{
	{
		name: "index", kind: kindNumber, field: func(v any) any { return &v.(*seccomp.Arg).Index },
		min: 0, max: 5, required: true, example: `0`,
		doc: `Which argument, from 0.`,
	},
	{
		name: "op", kind: kindString, field: func(v any) any { return &v.(*seccomp.Arg).Op },
		accept: []string{"eq", "ne", "lt", "le", "gt", "ge", "masked_eq"}, required: true,
		doc: `How it is compared.`,
	},
	{
		name: "value", kind: kindWord, field: func(v any) any { return &v.(*seccomp.Arg).Value },
		required: true, example: `0`,
		doc: `What it is compared with.`,
	},
	{
		name: "mask", kind: kindWord, field: func(v any) any { return &v.(*seccomp.Arg).Mask },
		example: `"0x7f"`,
		doc:     `The bits that masked_eq compares.`,
	},
}}

// environmentTable is [environment].
var environmentTable = table{keys: []key{
	{
		name: "inherit", kind: kindNames, field: func(v any) any { return &v.(*Policy).Environment.Inherit },
		check: checkVariable, example: `["LANG", "TERM"]`,
		doc: `Variables of the caller that the job gets as they are. Replaces the list of the policies below.`,
	},
	{
		name: "set", kind: kindEnv, field: func(v any) any { return &v.(*Policy).Environment.Set },
		example: `{ PATH = "/usr/bin:/bin" }`,
		doc:     `Variables with their values. Merged name by name.`,
	},
}}
