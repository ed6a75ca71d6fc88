package sandbox

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/userns"
)

// explainStart turns what launch.Start returns into a sentence for the user.
func explainStart(err error, host *probe.Host) error {
	var problem *userns.Problem
	if errors.As(err, &problem) {
		return &Error{Code: CodeIDs, Message: SafeText(problem.Detail()), Fix: problem.Fix, Cause: err}
	}
	var group *cgroup.Error
	if errors.As(err, &group) {
		return &Error{Code: CodeCgroup, Message: SafeText(group.Error()), Fix: group.Fix, Cause: err}
	}
	if cause, fix, ok := probe.Explain(err, host); ok {
		return &Error{Code: CodeHost, Message: SafeText(cause), Fix: fix, Cause: err}
	}
	return &Error{Code: CodeLaunch, Message: "the sandbox could not be started: " + SafeText(err.Error()), Fix: "see brig doctor", Cause: err}
}

// explainFailure turns a failed op into the sentence for the result, with the
// user's own path, and into the exit code's kind.
func explainFailure(err error, s *attempt) (f Failure, fix string) {
	var step *launch.StepError
	if !errors.As(err, &step) {
		return Failure{BrigFailed, SafeText(err.Error())}, ""
	}
	if step.Op.Kind == plan.Exec {
		return explainExec(step, s), ""
	}
	text, fix := stepText(step, s)
	return Failure{BrigFailed, text}, fix
}

// explainExec tells the ways apart in which a command does not start, with the
// exit codes of docker and env.
func explainExec(step *launch.StepError, s *attempt) Failure {
	name := SafeText(clip(s.spec.Args[0]))
	switch step.Errno {
	case unix.ENOENT, unix.ENOTDIR:
		text := name + ": command not found in the sandbox"
		switch {
		case strings.HasPrefix(s.spec.Args[0], "/"):
			text += " (paths of the host are not those of the sandbox; its working directory is " + s.workdir() + ")"
		case strings.Contains(s.spec.Args[0], "/"):
			text += " (looked up in " + s.workdir() + "; a script's interpreter or a program's loader may be what is missing)"
		}
		return Failure{NotFound, text}
	case unix.EACCES:
		return Failure{NotExecutable, name + ": permission denied: it is not executable for the job's user, or a directory"}
	case unix.ENOEXEC:
		return Failure{NotExecutable, name + ": not a program: neither an executable of this machine nor a script that starts with #!"}
	case unix.E2BIG:
		return Failure{NotExecutable, name + ": the arguments and the environment are longer than the kernel takes; pass long input as a file or on stdin"}
	case unix.EAGAIN:
		return Failure{NotExecutable, name + ": the process limit leaves no room to start it; raise --pids-limit"}
	default:
		return Failure{NotExecutable, fmt.Sprintf("%s: %v", name, step.Errno)}
	}
}

func (s *attempt) workdir() string { return SafeText(s.res.Plan.Find(plan.Chdir).Target) }

// sourceOf is the caller's path behind an op's handle.
func (s *attempt) sourceOf(handle int) string {
	for i := range s.res.Plan.Ops {
		if op := &s.res.Plan.Ops[i]; op.Kind == plan.Open && op.Handle == handle {
			return SafeText(op.Source)
		}
	}
	return "its source"
}

// stepText is the sentence about a failed op, and what the user can do.
func stepText(step *launch.StepError, s *attempt) (text, hint string) {
	op, errno := &step.Op, step.Errno
	if errno == unix.EOVERFLOW {
		return fmt.Sprintf("%s: a file or directory there belongs to an owner or a group that is not mapped", SafeText(op.String())),
			"give files of your own, or use --userns keep-id"
	}
	target, source := SafeText(op.Target), SafeText(op.Source)
	switch op.Kind {
	case plan.Open:
		switch errno {
		case unix.ESTALE:
			return source + " was exchanged for something else while the sandbox was being set up", "run it again, and find out who changes it"
		case unix.ENODEV:
			return source + " is not the device it should be on this host", "restore it: see null(4)"
		case unix.EMFILE, unix.EBADF:
			return "more files than may be open here are given to the sandbox", "raise the limit: ulimit -n"
		case unix.EACCES:
			return source + ": permission denied", "the ids of the sandbox must be able to reach it: use access copy, or make its directories searchable"
		case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
			return source + " went away while the sandbox was being set up", "run it again"
		default:
			return fmt.Sprintf("%s cannot be given to the sandbox: %v", source, errno), ""
		}
	case plan.Bind, plan.Tmpfs, plan.Mountpoint:
		what := "mounting on " + target
		if op.Handle != 0 {
			what = "giving " + s.sourceOf(op.Handle) + " as " + target
		}
		switch errno {
		case unix.ENOENT, unix.EROFS:
			return what + ": the target does not exist and cannot be made there", "make it on the host, or choose a target that is not below a read-only directory"
		case unix.ENOTDIR, unix.ENOTEMPTY, unix.EINVAL:
			return what + ": one is a directory and the other is not", "choose another target"
		case unix.ELOOP, unix.EXDEV:
			return what + ": the target leads through a symbolic link that cannot be followed", "name the directory itself"
		default:
			return fmt.Sprintf("%s: %v", what, errno), ""
		}
	case plan.Overlay, plan.Root:
		if len(op.Layers) > 0 {
			return overlayText("the image's root file system", errno)
		}
		if op.Handle != 0 {
			return overlayText(s.sourceOf(op.Handle), errno)
		}
		return fmt.Sprintf("making the root file system: %v", errno), ""
	case plan.Copy:
		if errno == unix.ENOSPC || errno == unix.EDQUOT {
			return source + " does not fit into the scratch", "raise --scratch-size"
		}
		return fmt.Sprintf("copying %s to %s: %v", source, target, errno), ""
	case plan.Proc:
		return fmt.Sprintf("the sandbox's own /proc cannot be mounted: %v", errno),
			"inside a container its /proc must not be masked (Docker: --security-opt systempaths=unconfined, Kubernetes: procMount Unmasked)"
	case plan.Capabilities:
		return fmt.Sprintf("the capabilities cannot be kept: %v", errno), "this kernel may not know all of them: name the ones that are needed with --cap-add"
	case plan.Scratch, plan.Mkdir, plan.File, plan.Symlink:
		if errno == unix.ENOSPC {
			return "the scratch is too small for the sandbox's own files", "raise --scratch-size"
		}
	case plan.Chdir:
		return "the working directory " + target + " cannot be entered: " + errno.Error(), "choose one that exists in the sandbox and that the job's user may enter: --workdir"
	case plan.Rlimit:
		return fmt.Sprintf("the limit %s = %d cannot be set: %v", SafeText(op.Data), op.Size, errno), "it is above what brig itself may use: ulimit -H -a shows that"
	default:
	}
	return fmt.Sprintf("setting up the sandbox, %s: %v", SafeText(op.String()), errno), "brig doctor tells what this host lacks"
}

func overlayText(source string, errno unix.Errno) (text, hint string) {
	switch errno {
	case unix.EINVAL:
		if mounts, err := probe.ReadMounts(); err == nil {
			if m := mountBelow(mounts, source); m != nil {
				e := lowerHasMount(source, m)
				return e.Message, e.Fix
			}
		}
		return source + " cannot be a lower layer: something is mounted below it, its file system cannot be one, or it lies on two overlays already, which is the most that the kernel stacks", "use access copy or ro"
	case unix.ELOOP:
		return source + " cannot be a lower layer: overlays stack two deep at most", "use access copy"
	case unix.EACCES, unix.EPERM:
		return source + ": permission denied", "the ids of the sandbox must be able to read it"
	case unix.ENODEV:
		return "this kernel has no overlayfs", "load it (modprobe overlay), or use access copy"
	default:
		return fmt.Sprintf("%s cannot be given copy-on-write: %v", source, errno), ""
	}
}
