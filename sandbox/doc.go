// Package sandbox runs untrusted jobs, each in a fresh, rootless sandbox.
//
// A Spec says what to run: a policy with every default filled in, a command,
// an environment and streams. Resolve turns it, with the facts about the host,
// into a plan; package launch carries the plan out; Run supervises and returns
// a Result: how the job ended, what it used, and a receipt for each limit.
//
//	p, _, err := policy.Load(policy.LoadOptions{Shipped: configs.FS, Files: os.DirFS("/"), Name: "strict"})
//	...
//	spec := sandbox.NewSpec(p, "echo", "hello")
//	spec.Stdout = os.Stdout
//	result, err := sandbox.Run(ctx, spec)
//
// A job that fails is a Result, never a Go error: an error means that brig
// could not do its part. Read spec.go, plan/plan.go, resolve.go, launch/doc.go,
// launch/init/init.c and result.go, in this order, to understand the whole.
//
// # Limitations
//
// A sandbox shares the host's kernel: a job that breaks the kernel breaks out.
// Limits that the kernel does not hold here are held by the supervisor, which
// looks at intervals; the receipt names what each such mechanism cannot see. The
// supervisor is a goroutine of the calling process: while that is stopped,
// nothing but the kernel's own limits holds.
package sandbox
