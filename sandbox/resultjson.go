package sandbox

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// MarshalJSON writes the result's JSON form, version 1, on one line: every key
// always present, in one order, and nothing but ASCII that every terminal and
// log can hold. It is written by hand because encoding/json and reflect would
// cost a short run more than the rest of its report.
func (r *Result) MarshalJSON() ([]byte, error) {
	o := object{b: make([]byte, 0, 1024+256*len(r.Receipt))}
	o.open()
	o.int("version", int64(r.Version))
	o.str("outcome", string(r.Outcome))
	if o.key("exit_code"); r.Exit == nil {
		o.null()
	} else {
		o.b = strconv.AppendInt(o.b, int64(*r.Exit), 10)
	}
	if o.key("signal"); r.Signal == nil {
		o.null()
	} else {
		o.open()
		o.str("name", r.Signal.Name)
		o.int("number", int64(r.Signal.Number))
		o.shut()
	}
	o.str("message", r.Message)
	o.key("usage")
	o.usage(&r.Usage)
	o.key("receipt")
	o.b = append(o.b, '[')
	for i := range r.Receipt {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.receipt(&r.Receipt[i])
	}
	o.b = append(o.b, ']')
	o.str("plan_digest", r.PlanDigest)
	o.str("started_at", r.StartedAt.UTC().Format(time.RFC3339Nano))
	o.shut()
	return o.b, nil
}

func (o *object) usage(u *Usage) {
	o.open()
	o.int("wall_ns", int64(u.Wall))
	o.int("cpu_ns", int64(u.CPU))
	o.int("user_ns", int64(u.User))
	o.int("system_ns", int64(u.System))
	o.amount("memory_peak_bytes", u.MemoryPeakBytes)
	o.amount("pids_peak", u.PIDsPeak)
	o.amount("read_bytes", u.ReadBytes)
	o.amount("write_bytes", u.WriteBytes)
	o.amount("output_bytes", u.OutputBytes)
	o.amount("swap_peak_bytes", u.SwapPeakBytes)
	o.amount("throttled_ns", u.Throttled)
	o.amount("stalled_cpu_ns", u.StalledCPU)
	o.amount("stalled_memory_ns", u.StalledMemory)
	o.amount("stalled_io_ns", u.StalledIO)
	o.shut()
}

func (o *object) receipt(r *Receipt) {
	o.open()
	o.str("limit", r.Limit)
	o.str("asked", r.Asked)
	o.str("mechanism", r.Mechanism)
	o.str("enforced_by", string(r.EnforcedBy))
	o.str("written", r.Written)
	o.str("read_back", r.ReadBack)
	o.amount("peak", r.Peak)
	o.str("hit", string(r.Hit))
	o.key("holes")
	o.b = append(o.b, '[')
	for i, h := range r.Holes {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendString(o.b, h)
	}
	o.b = append(o.b, ']')
	o.shut()
}

// object appends the members of JSON objects, nested ones too: a comma is due
// unless an object has just been opened.
type object struct{ b []byte }

func (o *object) open() { o.b = append(o.b, '{') }
func (o *object) shut() { o.b = append(o.b, '}') }
func (o *object) null() { o.b = append(o.b, "null"...) }

func (o *object) key(k string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, k...)
	o.b = append(o.b, '"', ':')
}

func (o *object) str(k, v string)           { o.key(k); o.b = appendString(o.b, v) }
func (o *object) int(k string, v int64)     { o.key(k); o.b = strconv.AppendInt(o.b, v, 10) }
func (o *object) amount(k string, v Amount) { o.key(k); o.b = v.appendJSON(o.b) }

// appendString quotes s for JSON (RFC 8259) in pure ASCII. Bytes that are not
// UTF-8 become U+FFFD, as with encoding/json.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	unit := func(b []byte, u rune) []byte {
		return append(b, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	b = append(b, '"')
	for _, r := range s { // an invalid byte arrives as utf8.RuneError
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\t':
			b = append(b, '\\', 't')
		case r > 0xffff && r <= utf8.MaxRune:
			r -= 0x10000
			b = unit(unit(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			b = unit(b, r)
		}
	}
	return append(b, '"')
}
