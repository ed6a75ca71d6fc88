package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// explainFlag says more of a flag that brig does not have, where docker or
// podman has it and there is a reason. It is looked at when parsing has failed,
// and costs no other run anything.
func explainFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	reason, fix := refusedFlag(unknown.GetSpecifiedName())
	if reason == "" {
		return suggestFlag(cmd, err)
	}
	return fmt.Errorf("--%s is not accepted: %s\n  fix: %s", unknown.GetSpecifiedName(), reason, fix)
}

// refusedFlag says why docker's flag has no counterpart; "" for any other name.
// The files are those of cgroup v2, Documentation/admin-guide/cgroup-v2.rst.
func refusedFlag(name string) (reason, fix string) {
	switch name {
	case "oom-kill-disable":
		return "control groups of version 2 have no such switch, and a job that waits for memory forever would hold what it has",
			"leave it out: a sandbox that is out of memory ends as a whole, with outcome memory_limit; raise --memory, or set memory_high in a policy's [limits] to slow the job down first"
	case "memory-swappiness":
		return "control groups of version 2 have no swappiness of their own",
			"bound the swap with --memory-swap: the same as --memory forbids it"
	case "kernel-memory", "kernel-memory-tcp":
		return "the kernel counts its own memory for a job as the job's, and has no limit apart",
			"use --memory, which includes it"
	case "cpu-rt-period", "cpu-rt-runtime":
		return "control groups of version 2 do not divide real-time scheduling, which a job may not use anyway",
			"use --cpus, --cpu-shares or --cpuset-cpus"
	case "blkio-weight", "blkio-weight-device":
		return "a weight of I/O rests on the disk's scheduler (bfq) or cost model, which most disks are used without, and then it does nothing",
			"bound the transfers with --device-read-bps, --device-write-bps, --device-read-iops or --device-write-iops"
	case "cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops":
		return "docker has it for Windows only",
			"use --cpus, --device-write-bps or --device-write-iops"
	}
	return "", ""
}
