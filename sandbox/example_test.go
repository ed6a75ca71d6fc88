package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// load reads a shipped policy; programs that let their users name policies also
// give policy.Load the directories in which these are.
func load(name string) *policy.Policy {
	p, _, err := policy.Load(policy.LoadOptions{Name: name, Shipped: configs.FS, Dir: "/tmp"})
	if err != nil {
		panic(err)
	}
	return p
}

// Run one command under a shipped policy and look at how it ended.
func ExampleRun() {
	p, _, err := policy.Load(policy.LoadOptions{Name: "strict", Shipped: configs.FS})
	if err != nil {
		fmt.Println(err)
		return
	}
	spec := sandbox.NewSpec(p, "sh", "-c", "read name; echo hello, $name; exit 3")
	spec.Stdin = strings.NewReader("world\n")
	spec.Stdout = os.Stdout
	spec.Filter = configs.Filter // the system call filters that ship with brig
	result, err := sandbox.Run(context.Background(), spec)
	if err != nil { // brig could not do its part
		fmt.Println(err)
		return
	}
	fmt.Println(result.Outcome, *result.Exit)
	// Output:
	// hello, world
	// exit 3
}

// A limit that is passed is a result with evidence, not an error.
func ExampleRun_limit() {
	p := load("strict")
	p.Limits.WallTime = policy.Duration(100 * time.Millisecond)
	spec := sandbox.NewSpec(p, "sleep", "60")
	spec.Filter = configs.Filter
	result, err := sandbox.Run(context.Background(), spec)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Outcome, result.ExitCode())
	for _, receipt := range result.Receipt {
		if receipt.Limit == "pids" {
			fmt.Println("at most", receipt.Asked, "processes, held by the", receipt.EnforcedBy)
		}
	}
	// Output:
	// wall_limit 124
	// at most 64 processes, held by the kernel
}

// Start returns at once, so that the job can be signalled, or ended, meanwhile.
func ExampleStart() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	spec := sandbox.NewSpec(load("strict"), "sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done")
	spec.Filter = configs.Filter
	up := make(signalWriter, 1)
	spec.Stdout = up
	s, err := sandbox.Start(ctx, spec)
	if err != nil {
		fmt.Println(err)
		return
	}
	<-up // the job runs
	if err := s.Signal(unix.SIGTERM); err != nil {
		fmt.Println(err)
	}
	result, err := s.Wait()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Outcome, *result.Exit)
	// Output:
	// exit 5
}

// signalWriter says when something was written to it.
type signalWriter chan struct{}

func (w signalWriter) Write(b []byte) (int, error) {
	select {
	case w <- struct{}{}:
	default:
	}
	return len(b), nil
}

// Prepare tells what would be done on this host, without doing it.
func ExamplePrepare() {
	spec := sandbox.NewSpec(load("judge"), "/bin/cat")
	spec.Policy.User.Map = policy.MapSingle
	res, err := sandbox.Prepare(spec)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range res.Plan.Ops {
		switch op := &res.Plan.Ops[i]; op.Kind {
		case plan.Scratch, plan.NoNewPrivs, plan.Exec:
			fmt.Println(op)
		default:
		}
	}
	fmt.Println(plan.Check(res.Plan))
	// Output:
	// scratch size 67108864 inodes 10000 mode 0755
	// no-new-privs
	// exec /bin/cat from /bin/cat
	// <nil>
}
