package launch

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// StepError is an op of a plan that failed. The sandbox is gone when it is
// returned. Its text is for people who read plans; package sandbox turns it
// into a sentence about what the user asked for.
type StepError struct {
	// Index is the op's place in the plan, from 0.
	Index int
	Op    plan.Op
	Errno unix.Errno
}

func (e *StepError) Error() string {
	return fmt.Sprintf("op %d of the plan, %s: %v", e.Index+1, e.Op.String(), e.Errno)
}

// Unwrap returns the error number.
func (e *StepError) Unwrap() error { return e.Errno }

// stepError names the op. An index that the plan does not have can only come
// from a broken init and is reported as the clone's.
func (s *Sandbox) stepError(index int, errno unix.Errno) *StepError {
	if s.begun != nil && index >= beginningOps && index < noOp {
		index = s.begun.of(index, s.plan)
	}
	if index < 0 || index >= len(s.plan.Ops) {
		index = 0
	}
	return &StepError{Index: index, Op: s.plan.Ops[index], Errno: errno}
}
