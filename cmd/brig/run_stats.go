package main

import (
	"fmt"
	"io"
	"time"

	"github.com/brig-sandbox/brig/sandbox"
)

// statsPeriod is how often --stats tells what a job uses.
const statsPeriod = time.Second

// watch prints what the job uses, once a second, until it has ended; nil where
// nobody wants to know.
func (f *runFlags) watch(w io.Writer) func(*sandbox.Sandbox) {
	if !f.stats {
		return nil
	}
	return func(s *sandbox.Sandbox) {
		go func() {
			tick := time.NewTicker(statsPeriod)
			defer tick.Stop()
			var before sandbox.Stats
			for {
				select {
				case <-s.Done():
					return
				case <-tick.C:
				}
				now, err := s.Stats()
				if err != nil {
					continue // not yet, or no longer
				}
				fmt.Fprintf(w, "brig: stats: %s\n", statsLine(&before, &now))
				before = now
			}
		}()
	}
}

// statsLine is one line: what is used now, and the rates since the last one.
func statsLine(before, now *sandbox.Stats) string {
	share := 0.0
	if dt := now.Wall - before.Wall; dt > 0 && now.CPU >= before.CPU {
		share = 100 * float64(now.CPU-before.CPU) / float64(dt)
	}
	return fmt.Sprintf("wall %.1fs cpu %.1fs (%.0f%%) memory %s peak %s pids %s read %s written %s throttled %s",
		now.Wall.Seconds(), now.CPU.Seconds(), share, mebibytes(now.Memory), mebibytes(now.MemoryPeak), number(now.PIDs),
		mebibytes(now.Read), mebibytes(now.Written), seconds(now.Throttled))
}

func mebibytes(a sandbox.Amount) string {
	if a == sandbox.Unknown {
		return "?"
	}
	return fmt.Sprintf("%.1fMiB", float64(a)/(1<<20))
}

func number(a sandbox.Amount) string {
	if a == sandbox.Unknown {
		return "?"
	}
	return fmt.Sprint(int64(a))
}

func seconds(a sandbox.Amount) string {
	if a == sandbox.Unknown {
		return "?"
	}
	return fmt.Sprintf("%.1fs", time.Duration(a).Seconds())
}
