package cgroup

import (
	"errors"
	"fmt"
)

// ErrManager is wrapped by what goes wrong between brig and the service
// manager: another mechanism may still serve.
var ErrManager = errors.New("the service manager makes no scope")

// Error is a group that could not be made as asked.
type Error struct {
	// What was being done, with its value, as the start of a sentence.
	What string
	// Fix is what the user can do; may be empty.
	Fix string
	Err error
}

// Error is one sentence.
func (e *Error) Error() string { return e.What + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func failed(err error, fix, format string, args ...any) *Error {
	return &Error{What: fmt.Sprintf(format, args...), Fix: fix, Err: err}
}
