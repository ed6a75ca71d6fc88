// Package cgroup gives a sandbox a control group of its own, in version 2 of
// the kernel's control groups, and reads what it counted.
//
// A group is a directory that carries the limits, with two leaves below it:
//
//	brig-1234-5f3a9c01.scope    memory.max, cpu.max, io.max, ...
//	├── init                    brig's init, which outlives the job and reports
//	└── job                     the job: pids.max, memory.oom.group
//
// The limits are on the directory above both, so that what init writes while it
// sets the sandbox up is charged as well, and so that systemd knows them as its
// scope's properties. memory.oom.group is on the job's leaf: when memory ends
// the job dies as a whole and init is left to say so.
//
// Two drivers make groups. The one named systemd asks a service manager for a
// transient scope: a process in a login session may not be moved out of it by
// its owner, but by the manager. The one named cgroupfs makes directories where
// the caller already owns a part of the tree.
//
// A job that may divide its group is one level deeper, in a group that holds no
// limit and is the root of what it sees: see Delegation.
//
// Nothing here is for version 1, for a group that others made, or for more than
// one sandbox in a group. Everything is reached by descriptors of directories
// that were opened once, so that no path is followed twice.
package cgroup
