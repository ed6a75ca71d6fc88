package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	values := []time.Duration{40, 10, 30, 20}
	for _, tt := range []struct {
		q    float64
		want time.Duration
	}{{0, 10}, {0.5, 25}, {1, 40}} {
		if got := quantile(values, tt.q); got != tt.want {
			t.Errorf("quantile(%v) = %v, want %v", tt.q, got, tt.want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
	if !slices.Equal(values, []time.Duration{40, 10, 30, 20}) {
		t.Error("quantile has reordered its input")
	}
}

func TestExceeded(t *testing.T) {
	r := report{checks: []check{
		{what: "good", got: 0.7, must: 1, aim: 0.75},
		{what: "fair", got: 1.0, must: 1, aim: 0.75},
		{what: "bad", got: 1.01, must: 1, aim: 0.75},
	}}
	if got := r.exceeded(); !slices.Equal(got, []string{"bad"}) {
		t.Errorf("exceeded() = %v, want [bad]", got)
	}
	for _, want := range []string{"reaches the aim", "within the limit", "EXCEEDED"} {
		if !strings.Contains(r.text(), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

// TestTurns shows that contenders are measured as often as they should be and
// that a failure is not measured as a quick success.
func TestTurns(t *testing.T) {
	a := &contender{name: "true", argv: []string{"/bin/true"}}
	b := &contender{name: "echo", argv: []string{"/bin/echo", "1500 exit"}, reads: true}
	if err := inTurns([]*contender{a, b}, 3); err != nil {
		t.Fatal(err)
	}
	if len(a.took) != 3 || !slices.Equal(b.took, []time.Duration{1500, 1500, 1500}) {
		t.Errorf("true took %v, echo printed %v; want three figures each", a.took, b.took)
	}
	broken := &contender{name: "false", argv: []string{"/bin/false"}}
	if err := inTurns([]*contender{broken}, 1); err == nil || err.Error() != "false: exit status 1: " {
		t.Errorf("a program that fails gave %v", err)
	}
}
