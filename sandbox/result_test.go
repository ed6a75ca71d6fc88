package sandbox

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func sampleResult() *Result {
	r := NewResult(ended(Evidence{
		Memory: Overrun{Over: true, Limit: 64 << 20, Seen: 65 << 20},
		Rusage: Rusage{User: 1500 * time.Millisecond, System: 20 * time.Millisecond, MaxRSS: 70 << 20, VoluntarySwitches: 5, ForcedSwitches: 6},
	}, signaled(unix.SIGKILL)))
	r.Usage.Wall = 2345678901 * time.Nanosecond
	r.Usage.MemoryPeakBytes, r.Usage.PIDsPeak, r.Usage.OutputBytes = 65<<20, 3, 0
	r.Receipt = []Receipt{
		{
			Limit: "memory", Asked: "64MiB", Mechanism: "poll", EnforcedBy: BySupervisor, Peak: 65 << 20, Hit: HitYes,
			Holes: []string{"between two polls"},
		},
		{
			Limit: "pids", Asked: "64", Mechanism: "RLIMIT_NPROC", EnforcedBy: ByKernel, Written: "64", ReadBack: "64",
			Peak: 3, Hit: HitUnknown,
		},
	}
	r.PlanDigest = "sha256:00"
	r.StartedAt = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("x", 3600))
	return r
}

const sampleJSON = `{"version":1,"outcome":"memory_limit","exit_code":null,"signal":{"name":"SIGKILL","number":9},` +
	`"message":"memory limit of 64MiB exceeded: the supervisor measured 65MiB",` +
	`"usage":{"wall_ns":2345678901,"cpu_ns":1520000000,"user_ns":1500000000,"system_ns":20000000,` +
	`"memory_peak_bytes":68157440,"pids_peak":3,"read_bytes":null,"write_bytes":null,"output_bytes":0,"swap_peak_bytes":null,` +
	`"throttled_ns":null,"stalled_cpu_ns":null,"stalled_memory_ns":null,"stalled_io_ns":null},` +
	`"receipt":[{"limit":"memory","asked":"64MiB","mechanism":"poll","enforced_by":"supervised","written":"","read_back":"",` +
	`"peak":68157440,"hit":"yes","holes":["between two polls"]},` +
	`{"limit":"pids","asked":"64","mechanism":"RLIMIT_NPROC","enforced_by":"kernel","written":"64","read_back":"64",` +
	`"peak":3,"hit":"unknown","holes":[]}],` +
	`"plan_digest":"sha256:00","started_at":"2026-01-02T02:04:05.000006Z"}`

func TestResultJSON(t *testing.T) {
	b, err := sampleResult().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sampleJSON, string(b)); d != "" {
		t.Errorf("JSON differs (-want +got):\n%s", d)
	}
}

// The hand-written encoder and the field tags must agree.
func TestResultJSONRoundTrip(t *testing.T) {
	seven := 7
	exit := NewResult(ended(Evidence{}, exited7))
	if exit.Exit == nil || *exit.Exit != seven || exit.Signal != nil {
		t.Errorf("exit %v, signal %v; want 7 and none", exit.Exit, exit.Signal)
	}
	for _, want := range []*Result{sampleResult(), exit} {
		want.Message += " \"\\\n\t\x00\x7f é \U0001f600 \u2028"
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range b {
			if c >= 0x7f || c < ' ' {
				t.Fatalf("byte %#x in %q", c, b)
			}
		}
		var got Result
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		want.StartedAt = want.StartedAt.UTC()
		want.Usage.Rusage = Rusage{} // not part of the JSON
		for i := range want.Receipt {
			if want.Receipt[i].Holes == nil {
				want.Receipt[i].Holes = []string{}
			}
		}
		if want.Receipt == nil {
			want.Receipt = []Receipt{}
		}
		if diff := cmp.Diff(want, &got); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a\"b\\", "\x00\x1f\x7f\xff", "\ud7ff\ue000\U0010ffff", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		b := appendString(nil, s)
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q is no JSON: %v", b, err)
		}
		if got != string([]rune(s)) { // each byte that is not UTF-8 becomes U+FFFD
			t.Errorf("%q came back as %q", s, got)
		}
	})
}

func TestMeta(t *testing.T) {
	with := func(e Evidence) *Result {
		e.Rusage = Rusage{User: 1234999 * time.Microsecond, System: time.Millisecond, MaxRSS: 2048 << 10, VoluntarySwitches: 5, ForcedSwitches: 6}
		r := NewResult(e)
		r.Usage.Wall = 2005 * time.Millisecond
		return r
	}
	const usage = "time:1.235\ntime-wall:2.005\nmax-rss:2048\ncsw-voluntary:5\ncsw-forced:6\n"
	memory := with(Evidence{Memory: Overrun{Over: true, Limit: 1 << 20, Seen: 2 << 20}})
	memory.Usage.MemoryPeakBytes = 2 << 20
	over := Overrun{Over: true, Limit: 1e9, Seen: 2e9}
	for name, c := range map[string]struct {
		r    *Result
		want string
	}{
		"ok":     {with(ended(Evidence{}, exited0)), usage + "exitcode:0\n"},
		"exit":   {with(ended(Evidence{}, exited7)), usage + "exitcode:7\nstatus:RE\nmessage:Exited with error status 7\n"},
		"signal": {with(ended(Evidence{}, signaled(unix.SIGSEGV))), usage + "exitsig:11\nstatus:SG\nmessage:Caught fatal signal 11\n"},
		"time": {
			with(ended(Evidence{CPU: over}, signaled(unix.SIGKILL))),
			usage + "status:TO\nmessage:Time limit exceeded\nkilled:1\n",
		},
		"time seen at the end": {with(ended(Evidence{CPU: over}, exited0)), usage + "status:TO\nmessage:Time limit exceeded\n"},
		"wall":                 {with(Evidence{Wall: over}), usage + "status:TO\nmessage:Time limit exceeded (wall clock)\nkilled:1\n"},
		"cancelled": {
			with(Evidence{Cancelled: true, CancelSignal: unix.SIGINT}),
			usage + "exitsig:2\nstatus:SG\nmessage:Interrupted\nkilled:1\n",
		},
		"memory": {memory, usage + "cg-mem:2048\ncg-oom-killed:1\nexitsig:9\nstatus:SG\n" +
			"message:memory limit of 1MiB exceeded: the supervisor measured 2MiB\nkilled:1\n"},
		"output, and exit 0": {
			with(ended(Evidence{Output: Overrun{Over: true, Limit: 1}}, exited0)),
			usage + "exitcode:0\nstatus:RE\nmessage:output limit of 1 bytes exceeded\n",
		},
		"error, with a name that forges a line": {
			NewResult(Evidence{Failure: Failure{NotFound, "no\nstatus:OK"}}), "status:XX\nmessage:no\\nstatus:OK\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, string(appendMeta(nil, c.r))); d != "" {
				t.Errorf("meta differs (-want +got):\n%s", d)
			}
		})
	}
}
