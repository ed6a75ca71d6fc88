package policy

// limitsTable is [limits].
var limitsTable = table{keys: []key{
	{
		name: "wall_time", kind: kindDuration, field: func(v any) any { return &v.(*Policy).Limits.WallTime },
		min: minDuration, max: maxDuration, unlimited: true, example: `"10s"`,
		doc: `Real time from the start of the job.`,
	},
	{
		name: "cpu_time", kind: kindDuration, field: func(v any) any { return &v.(*Policy).Limits.CPUTime },
		min: minDuration, max: maxDuration, unlimited: true, example: `"2s"`,
		doc: `User and system time of the whole sandbox.`,
	},
	{
		name: "cpus", kind: kindCPUs, field: func(v any) any { return &v.(*Policy).Limits.CPUs },
		min: 1, max: 100 * maxCPUs, unlimited: true, example: `1.5`,
		doc: `How many CPUs the sandbox may use at a time.`,
	},
	{
		name: "cpu_weight", kind: kindCount, field: func(v any) any { return &v.(*Policy).Limits.CPUWeight },
		min: 1, max: 10000, example: `100`,
		doc: `Share of the CPUs beside others, as cgroup v2's cpu.weight.`,
	},
	{
		name: "cpuset", kind: kindString, field: func(v any) any { return &v.(*Policy).Limits.CPUSet },
		check: checkCPUList, example: `"0-1,3"`,
		doc: `The CPUs that may be used; empty for all.`,
	},
	{
		name: "cpuset_mems", kind: kindString, field: func(v any) any { return &v.(*Policy).Limits.CPUSetMems },
		check: checkCPUList, example: `"0"`,
		doc: `The memory nodes that may be used; empty for all.`,
	},
	{
		name: "memory", kind: kindSize, field: func(v any) any { return &v.(*Policy).Limits.Memory },
		min: 1 << 20, max: maxSize, unlimited: true, example: `"256MiB"`,
		doc: `Memory of the whole sandbox, the scratch space included. Past it the job ends with outcome memory_limit.`,
	},
	{
		name: "swap", kind: kindSize, field: func(v any) any { return &v.(*Policy).Limits.Swap },
		min: 0, max: maxSize, unlimited: true, example: `"0"`,
		doc: `Swap space alone, beside the memory.`,
	},
	{
		name: "memory_low", kind: kindSize, field: func(v any) any { return &v.(*Policy).Limits.MemoryLow },
		min: 0, max: maxSize, example: `"64MiB"`,
		doc: `Memory that is protected from reclaim; 0 for none.`,
	},
	{
		name: "memory_high", kind: kindSize, field: func(v any) any { return &v.(*Policy).Limits.MemoryHigh },
		min: 1 << 20, max: maxSize, unlimited: true, example: `"192MiB"`,
		doc: `Past this much memory the job is slowed down.`,
	},
	{
		name: "oom_group", kind: kindBool, field: func(v any) any { return &v.(*Policy).Limits.OOMGroup },
		example: `true`,
		doc:     `Past the memory the kernel ends the whole job, and not only its largest process. Without a control group brig always ends all of it.`,
	},
	{
		name: "delegate_cgroup", kind: kindBool, field: func(v any) any { return &v.(*Policy).Limits.DelegateCgroup },
		example: `false`,
		doc:     `The job may make control groups of its own, below what it finds at /sys/fs/cgroup. Its limits lie above that, out of its reach.`,
	},
	{
		name: "pids", kind: kindCount, field: func(v any) any { return &v.(*Policy).Limits.PIDs },
		min: 1, max: maxPIDs, unlimited: true, example: `64`,
		doc: `Processes and threads of the whole sandbox.`,
	},
	{
		name: "open_files", kind: kindCount, field: func(v any) any { return &v.(*Policy).Limits.OpenFiles },
		min: 8, max: maxFiles, example: `256`,
		doc: `Open files of each process. Always bounded.`,
	},
	{
		name: "file_size", kind: kindSize, field: func(v any) any { return &v.(*Policy).Limits.FileSize },
		min: 0, max: maxSize, unlimited: true, example: `"64MiB"`,
		doc: `The size of each file that is written.`,
	},
	{
		name: "stack", kind: kindSize, field: func(v any) any { return &v.(*Policy).Limits.Stack },
		min: 64 << 10, max: maxSize, unlimited: true, example: `"64MiB"`,
		doc: `The stack of each process.`,
	},
	{
		name: "output", kind: kindSize, field: func(v any) any { return &v.(*Policy).Limits.Output },
		min: 0, max: maxSize, unlimited: true, example: `"16MiB"`,
		doc: `Standard output and error together. Past it the job ends with outcome output_limit.`,
	},
	{
		name: "scratch", kind: kindSize, field: func(v any) any { return &v.(*Policy).Limits.Scratch },
		min: 64 << 10, max: maxSize, unlimited: true, example: `"256MiB"`,
		doc: `The writable layer. It lives in memory and counts as memory.`,
	},
	{
		name: "scratch_inodes", kind: kindCount, field: func(v any) any { return &v.(*Policy).Limits.ScratchInodes },
		min: 16, max: maxInodes, unlimited: true, example: `65536`,
		doc: `Files and directories in the writable layer.`,
	},
	{
		name: "ulimit", kind: kindUlimits, field: func(v any) any { return &v.(*Policy).Limits.Ulimits },
		example: `{ memlock = "64KiB", nice = { soft = 0, hard = 20 } }`,
		doc:     `Further rlimits of each process by their lower-case names, in the unit of the kernel. Merged name by name.`,
	},
	{
		name: "io", kind: kindTables, field: func(v any) any { return &v.(*Policy).Limits.IO },
		table: &ioTable,
		doc:   `Transfers to and from block devices. Merged device by device.`,
	},
}}

// ioTable is an entry of [[limits.io]].
var ioTable = table{keys: []key{
	{
		name: "device", kind: kindString, field: func(v any) any { return &v.(*IOLimit).Device },
		check: checkPath, required: true, example: `"/"`,
		doc: `A device node, or a path on the file system that lies on the device.`,
	},
	{
		name: "read_bps", kind: kindSize, field: func(v any) any { return &v.(*IOLimit).ReadBPS },
		min: 1, max: maxSize, example: `"1MiB"`,
		doc: `Bytes read in a second.`,
	},
	{
		name: "write_bps", kind: kindSize, field: func(v any) any { return &v.(*IOLimit).WriteBPS },
		min: 1, max: maxSize, example: `"1MiB"`,
		doc: `Bytes written in a second.`,
	},
	{
		name: "read_iops", kind: kindCount, field: func(v any) any { return &v.(*IOLimit).ReadIOPS },
		min: 1, max: maxRate, example: `100`,
		doc: `Reads in a second.`,
	},
	{
		name: "write_iops", kind: kindCount, field: func(v any) any { return &v.(*IOLimit).WriteIOPS },
		min: 1, max: maxRate, example: `100`,
		doc: `Writes in a second.`,
	},
}}
