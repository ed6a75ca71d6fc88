package sandbox

import "strings"

// Code names a kind of failure of brig's own. Each has one sentence and one
// way to mend it; `brig doctor` and the documentation use the same codes.
type Code string

// The codes.
const (
	CodeNoCommand Code = "no_command"       // nothing to run
	CodeBadSpec   Code = "bad_spec"         // a value that cannot be used
	CodeTooLong   Code = "too_long"         // arguments or environment beyond all bounds
	CodeKernel    Code = "kernel_too_old"   // before 5.14
	CodeHost      Code = "host"             // the host lacks a mechanism that no other can replace
	CodeIDs       Code = "ids"              // the id mapping cannot be had
	CodeSource    Code = "source"           // a directory or file cannot be given as asked
	CodeLimit     Code = "limit"            // a limit cannot be held here
	CodeCgroup    Code = "cgroup"           // the control group cannot be had
	CodeFilter    Code = "seccomp"          // the filter cannot be had
	CodeLaunch    Code = "launch"           // a step of the set-up failed
	CodeNotFound  Code = "command_missing"  // 127
	CodeNotExec   Code = "command_not_exec" // 126
	CodeStdio     Code = "stdio"            // the caller's streams cannot be used
)

// Error is a failure of brig's own: the job did not run, or what it did cannot
// be trusted. Message and Fix are safe to print.
type Error struct {
	Code    Code
	Message string
	Fix     string // what the user can do; may be empty
	Cause   error  // may be nil
}

func newError(code Code, message, fix string) *Error {
	return &Error{Code: code, Message: message, Fix: fix}
}

// Error is the sentence and, on a line of its own, the fix.
func (e *Error) Error() string {
	if e.Fix == "" {
		return e.Message
	}
	return e.Message + "\n  fix: " + strings.TrimSuffix(e.Fix, "\n")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is matches an *Error of the same code, so that errors.Is(err,
// &Error{Code: CodeLimit}) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Message == "" && t.Fix == ""
}
