package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// quantile is the value below which a share q of the sorted values lies.
func quantile(values []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	share := at - float64(low)
	return time.Duration(float64(sorted[low])*(1-share) + float64(sorted[high])*share)
}

func median(values []time.Duration) time.Duration { return quantile(values, 0.5) }

// check is one number that brig must reach, and one that it aims at.
type check struct {
	what        string
	got         float64
	unit        string
	must, aim   float64
	explanation string
}

// verdict says how the number compares with its limits.
func (c check) verdict() string {
	switch {
	case c.got <= c.aim:
		return "reaches the aim"
	case c.got <= c.must:
		return "within the limit"
	default:
		return "EXCEEDED"
	}
}

// report is what one run of the benchmark found.
type report struct {
	groups []group
	lacks  []missing
	checks []check
}

// group is a set of contenders that took turns.
type group struct {
	title      string
	contenders []*contender
	base       *contender // what the ratios refer to
}

// report measures everything.
func (b bench) report() (report, error) {
	var r report
	rivals, err := leaveOutBroken(b.others())
	if err != nil {
		return r, err
	}
	brig := &contender{name: "brig run", argv: b.brig(nil, "/bin/true")}
	cow := &contender{name: "brig run, one cow directory", argv: b.brig([]string{"-v", b.work + ":/data:cow"}, "/bin/true")}
	price := &contender{name: "the kernel's own price (C)", argv: []string{b.path("price"), "/bin/true"}}
	hello := &contender{name: "Go hello", argv: []string{b.path("hello")}}
	version := &contender{name: "brig version", argv: []string{b.path("brig"), "version"}}
	if err := b.sameMounts(price); err != nil {
		return r, err
	}
	start := append([]*contender{brig, cow, price, hello, version}, rivals...)
	if err := inTurns(start, b.rounds); err != nil {
		return r, err
	}
	r.groups = append(r.groups, group{"cold start of /bin/true, whole process", start, rivals[0]})

	begin := &contender{name: "brig run, until its first clone", reads: true, argv: append([]string{b.path("until")}, brig.argv...)}
	floor := &contender{name: "Go hello, until it exits", reads: true, argv: []string{b.path("until"), b.path("hello")}}
	if err := inTurns([]*contender{begin, floor}, b.rounds); err != nil {
		return r, err
	}
	r.groups = append(r.groups, group{"the command line", []*contender{begin, floor}, floor})

	plain := &contender{name: "without a sandbox", reads: true, argv: []string{b.path("calls")}}
	filtered := &contender{
		name: "under brig's filter", reads: true,
		argv: b.brig([]string{"-v", b.bin + ":/bench:ro"}, "/bench/calls"),
	}
	unfiltered := &contender{
		name: "in brig, no filter", reads: true,
		argv: b.brig([]string{"-v", b.bin + ":/bench:ro", "--security-opt", "seccomp=unconfined"}, "/bench/calls"),
	}
	calls := []*contender{plain, unfiltered, filtered}
	if err := inTurns(calls, 10); err != nil {
		return r, err
	}
	r.groups = append(r.groups, group{"one getppid", calls, plain})

	boxed, lacks := b.groups.contenders(b.path("group"))
	if err := inTurns(boxed, b.rounds); err != nil {
		return r, err
	}
	r.lacks = lacks
	if len(boxed) > 0 {
		r.groups = append(r.groups, group{"until a process is in its control group", boxed, boxed[0]})
	}

	r.checks = []check{
		{"brig run / bubblewrap", ratio(brig, rivals[0]), "×", 1.0, 0.75, "with brig's seccomp filter on, bubblewrap without"},
		{"brig run / the kernel's own price", ratio(brig, price), "×", 1.9, 1.4, ""},
		{"until the first clone", milliseconds(median(begin.took)), " ms", 1.5, 1.2, "a Go hello exits after " + show(median(floor.took))},
		{"one cow directory more", milliseconds(median(cow.took) - median(brig.took)), " ms", 0.6, 0.3, ""},
	}
	if err := b.images(&r); err != nil {
		return r, err
	}
	return r, b.unpacks(&r)
}

func ratio(a, b *contender) float64 { return float64(median(a.took)) / float64(median(b.took)) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// show prints a duration in the unit that leaves it readable.
func show(d time.Duration) string {
	if d < 100*time.Microsecond {
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	}
	return fmt.Sprintf("%.2f ms", milliseconds(d))
}

// exceeded lists the limits that were not kept.
func (r report) exceeded() []string {
	var names []string
	for _, c := range r.checks {
		if c.got > c.must {
			names = append(names, c.what)
		}
	}
	return names
}

// text is the report as tables.
func (r report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d CPUs, uid %d\n", kernel(), runtime.NumCPU(), unix.Getuid())
	for _, g := range r.groups {
		fmt.Fprintf(&b, "\n%-40s %10s %22s %8s\n", g.title, "median", "middle half", "ratio")
		for _, c := range g.contenders {
			fmt.Fprintf(&b, "  %-38s %10s %10s – %9s %7.2f×\n", c.name, show(median(c.took)),
				show(quantile(c.took, 0.25)), show(quantile(c.took, 0.75)), ratio(c, g.base))
		}
	}
	for _, m := range r.lacks {
		fmt.Fprintf(&b, "  %-38s %10s  not on this host: %s\n", m.name, "–", m.why)
	}
	fmt.Fprintf(&b, "\n%-40s %10s %8s %8s\n", "to reach", "measured", "limit", "aim")
	for _, c := range r.checks {
		fmt.Fprintf(&b, "  %-38s %10s %8s %8s  %s", c.what, fmt.Sprintf("%.2f%s", c.got, c.unit),
			fmt.Sprintf("%.2f", c.must), fmt.Sprintf("%.2f", c.aim), c.verdict())
		if c.explanation != "" {
			fmt.Fprintf(&b, " (%s)", c.explanation)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// kernel names the kernel that was measured on.
func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown kernel"
	}
	return "Linux " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])
}
