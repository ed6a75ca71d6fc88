package sandbox

import (
	"errors"
	"time"
)

// Failed is the result of a job that was never started because of err.
func Failed(err error) *Result {
	e := Evidence{FileSizeRlimit: Unknown, Failure: Failure{BrigFailed, SafeText(err.Error())}}
	var be *Error
	if errors.As(err, &be) {
		switch be.Code {
		case CodeNotFound:
			e.Failure.Kind = NotFound
		case CodeNotExec:
			e.Failure.Kind = NotExecutable
		default:
		}
	}
	r := NewResult(e)
	r.StartedAt = time.Now().UTC()
	return r
}
