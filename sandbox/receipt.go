package sandbox

import "strconv"

// Receipt proves one limit: what was asked for, which mechanism held it, what
// that mechanism was told and what it answered when it was read back.
type Receipt struct {
	Limit string `json:"limit"` // the policy's key: "memory", "pids", ...
	Asked string `json:"asked"` // as the policy spelt it, defaults filled in
	// Mechanism names what held the limit: "RLIMIT_NPROC", "memory.max",
	// "poll", "sched_setaffinity", ...
	Mechanism  string     `json:"mechanism"`
	EnforcedBy EnforcedBy `json:"enforced_by"`
	Written    string     `json:"written"`   // the value given to the mechanism; empty where nothing is written
	ReadBack   string     `json:"read_back"` // what the mechanism says afterwards
	// Peak is the highest use seen, in the limit's unit (bytes, nanoseconds or
	// a count); Unknown where nothing counts it.
	Peak Amount `json:"peak"`
	Hit  Hit    `json:"hit"`
	// Holes names each way in which a weaker mechanism can be got round.
	Holes []string `json:"holes"`
}

// EnforcedBy says how strongly a limit held.
type EnforcedBy string

// Who enforced a limit.
const (
	ByKernel     EnforcedBy = "kernel"     // the kernel refuses or kills; no window
	BySupervisor EnforcedBy = "supervised" // brig measures and kills; there is a window
	ByNobody     EnforcedBy = "none"       // it did not hold (only with limits = "best-effort")
)

// Hit says whether a limit was touched. It is never guessed: where nothing
// counts, it is HitUnknown.
//
// For processes without a cgroup (RLIMIT_NPROC) the kernel counts no refused
// fork. The supervisor's poller may have seen as many processes as were
// allowed, which is HitYes; not having seen it proves nothing, which is
// HitUnknown and never HitNo.
type Hit string

// The answers.
const (
	HitYes     Hit = "yes"
	HitNo      Hit = "no"
	HitUnknown Hit = "unknown"
)

// Amount is a number of bytes, nanoseconds or things, or Unknown. In JSON it
// is a number or null.
type Amount int64

// Unknown is an amount that nothing measured. Zero means measured, and zero.
const Unknown Amount = -1

// MarshalJSON writes the number, or null for Unknown.
func (a Amount) MarshalJSON() ([]byte, error) { return a.appendJSON(nil), nil }

// UnmarshalJSON reads what MarshalJSON writes.
func (a *Amount) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*a = Unknown
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return err
	}
	*a = Amount(n)
	return nil
}

func (a Amount) appendJSON(b []byte) []byte {
	if a < 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, int64(a), 10)
}
