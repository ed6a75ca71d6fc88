package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	fields := "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21"
	for _, c := range []struct {
		in   string
		want procStat
		ok   bool
	}{
		{"7 (sh) " + fields + " 22\n", procStat{'S', 11 + 12, 13 + 14, 17, 21, 1, 19, 20}, true},
		{"7 (a) b ) S (1 2) " + fields + " 22\n", procStat{'S', 11 + 12, 13 + 14, 17, 21, 1, 19, 20}, true},
		{"7 (x\n) " + strings.Replace(fields, "13", "-13", 1) + " 22\n", procStat{'S', 11 + 12, 14, 17, 21, 1, 19, 20}, true},
		{"7 (sh) S 1 2 3", procStat{}, false},
		{"7 (sh", procStat{}, false},
		{"", procStat{}, false},
		{")", procStat{}, false},
	} {
		got, ok := parseStat([]byte(c.in))
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %+v, %v; want %+v, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22"))
	f.Add([]byte("1 ()) "))
	f.Fuzz(func(t *testing.T, b []byte) {
		st, _ := parseStat(b)
		if st.ownTicks < 0 || st.childTicks < 0 || st.rssPages < 0 {
			t.Errorf("%+v from %q", st, b)
		}
	})
}

func TestSysvBytes(t *testing.T) {
	header := "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n"
	line := "         0          3   600              10485760    12    12      1  1000  1000  1000  1000 1700000000          0 1700000000              5242880                  4096\n"
	for _, n := range []int{0, 1, 500} {
		name := filepath.Join(t.TempDir(), "shm")
		if err := os.WriteFile(name, []byte(header+strings.Repeat(line, n)), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, size := range []int{300, 32 << 10} {
			got, err := sysvBytes(int(f.Fd()), make([]byte, size))
			if want := int64(n) * (5242880 + 4096); err != nil || got != want {
				t.Errorf("%d segments, buffer of %d: %d bytes (%v), want %d", n, size, got, err, want)
			}
		}
	}
}

func TestMemoryWatchLooksMoreOftenAsGrowthIsFaster(t *testing.T) {
	page := int64(os.Getpagesize())
	watch := func(limit int64, sums ...int64) time.Duration {
		m := memoryWatch{limit: limit, sysv: -1}
		at := time.Unix(0, 0)
		for _, s := range sums {
			if err := m.see(procSeen{rssPages: s / page}, at, func() (int64, error) { return s, nil }); err != nil {
				t.Fatal(err)
			}
			at = at.Add(10 * time.Millisecond)
		}
		return m.next()
	}
	const mb = 1 << 20
	if d := watch(0, 10*mb, 900*mb); d != longestPoll {
		t.Errorf("without a limit: %v", d)
	}
	if d := watch(1<<30, 10*mb, 10*mb); d != longestPoll {
		t.Errorf("at rest: %v, want %v", d, longestPoll)
	}
	// 100 MB in 10 ms with 800 MB to go: 80 ms to the limit, a quarter of it.
	if d := watch(1024*mb, 124*mb, 224*mb); d < 19*time.Millisecond || d > 20*time.Millisecond {
		t.Errorf("with 80 ms to go: %v", d)
	}
	if d := watch(256*mb, 100*mb, 200*mb); d < time.Millisecond || d > 1500*time.Microsecond {
		t.Errorf("with 5.6 ms to go: %v", d)
	}
	if d := watch(256*mb, 100*mb, 255*mb); d != shortestPoll {
		t.Errorf("at the limit: %v", d)
	}
}

func TestMemoryWatchTrustsOnlyTheExactSum(t *testing.T) {
	page := int64(os.Getpagesize())
	const mb = 1 << 20
	m := memoryWatch{limit: 100 * mb, sysv: -1}
	exact := int64(0)
	asked := 0
	see := func(quick, own int64) {
		t.Helper()
		exact = own
		if err := m.see(procSeen{rssPages: quick / page}, time.Now(), func() (int64, error) { asked++; return exact, nil }); err != nil {
			t.Fatal(err)
		}
	}
	see(40*mb, 20*mb)
	see(45*mb, 25*mb)
	if asked != 1 || m.peak != 25*mb || m.passed {
		t.Errorf("asked %d times, peak %d, passed %v; want 1, 25 MiB by the excess, false", asked, m.peak, m.passed)
	}
	see(500*mb, 60*mb) // many sharers
	if m.passed || m.peak != 60*mb {
		t.Errorf("passed %v at an exact sum of 60 MiB, peak %d", m.passed, m.peak)
	}
	see(500*mb, 101*mb) // the quick sum did not move
	if !m.passed || m.seen != 101*mb || m.overrun() != (Overrun{Over: true, Limit: 100 * mb, Seen: 101 * mb}) {
		t.Errorf("not noticed: %+v", m.overrun())
	}
}

func TestCPUWatch(t *testing.T) {
	c := cpuWatch{limit: 2 * time.Second, cpus: 2}
	if d := c.next(); d != 1005*time.Millisecond {
		t.Errorf("first look after %v, want 1.005s", d)
	}
	c.see(1900 * time.Millisecond)
	c.see(100 * time.Millisecond) // a child died unwaited for
	if c.used != 1900*time.Millisecond || c.over() || c.next() != 55*time.Millisecond {
		t.Errorf("used %v, over %v, next %v", c.used, c.over(), c.next())
	}
	c.see(2 * time.Second)
	if c.over() {
		t.Error("over at exactly the limit")
	}
	c.see(2010 * time.Millisecond)
	if !c.over() || c.next() != shortestPoll {
		t.Errorf("over %v, next %v", c.over(), c.next())
	}
	if d := (&cpuWatch{}).next(); d != never {
		t.Errorf("without a limit: %v", d)
	}
}

// A child in its parent's memory counts once. One that only looks like that,
// because its parent has as many pages of a host file, counts whole, and so does
// the child of a child, which no start of a program has.
func TestLent(t *testing.T) {
	const now = 1000
	old, young := procStat{parent: 1, started: 1, rssPages: 7, vsize: 9}, procStat{parent: 2, started: now, rssPages: 7, vsize: 9}
	grandchild, aged, other := young, young, young
	grandchild.parent, aged.started, other.rssPages = 3, now-borrowerTicks-1, 8
	for _, tt := range []struct {
		name string
		all  map[int]procStat
		own  map[int]int64
		want int64
	}{
		{"nobody's child", map[int]procStat{2: old}, map[int]int64{2: 100}, 0},
		{"vfork", map[int]procStat{2: old, 3: young}, map[int]int64{2: 100, 3: 100}, 100},
		{"moved on meanwhile", map[int]procStat{2: old, 3: young}, map[int]int64{2: 90, 3: 100}, 90},
		{"parent with a file's pages", map[int]procStat{2: old, 3: young}, map[int]int64{2: 0, 3: 100}, 0},
		{"grandchild", map[int]procStat{2: old, 3: young, 4: grandchild}, map[int]int64{2: 100, 3: 100, 4: 100}, 100},
		{"too old", map[int]procStat{2: old, 3: aged}, map[int]int64{2: 100, 3: 100}, 0},
		{"another size", map[int]procStat{2: old, 3: other}, map[int]int64{2: 100, 3: 100}, 0},
		{"more than start at once", map[int]procStat{2: old, 3: young, 4: young, 5: young, 6: young, 7: young}, map[int]int64{2: 10, 3: 10, 4: 10, 5: 10, 6: 10, 7: 10}, 40},
	} {
		if got, _ := lent(tt.all, tt.own, now, func(int) int { return 0 }); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	// With a thread that waits, age is no argument; with one, for one child.
	established := aged
	established.started = now - doubtfulTicks - 1
	for _, tt := range []struct {
		name     string
		all      map[int]procStat
		want     int64
		doubtful bool
	}{
		{"waited for", map[int]procStat{2: old, 3: aged}, 100, false},
		{"waited for long", map[int]procStat{2: old, 3: established}, 100, false},
		{"one of two waited for", map[int]procStat{2: old, 3: aged, 4: aged}, 100, true},
		{"waited for, of another size", map[int]procStat{2: old, 3: other}, 0, true},
		{"beside a young one", map[int]procStat{2: old, 3: aged, 4: young}, 200, false},
		{"not waited for", map[int]procStat{5: old, 3: {parent: 5, started: 1, vsize: 9}}, 0, false},
	} {
		own := map[int]int64{2: 100, 3: 100, 4: 100}
		waiting := func(pid int) int { return map[int]int{2: 1}[pid] }
		if got, doubtful := lent(tt.all, own, now, waiting); got != tt.want || doubtful != tt.doubtful {
			t.Errorf("%s: %d, doubtful %v; want %d, %v", tt.name, got, doubtful, tt.want, tt.doubtful)
		}
	}
}
