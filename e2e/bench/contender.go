package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// warmup rounds are run and thrown away: caches of the file system, and brig's
// own cache of what this host can do.
const warmup = 20

// patience is how long one turn may take before the benchmark gives up.
const patience = 10 * time.Second

// contender is one program that takes its turn.
type contender struct {
	name string
	argv []string
	// reads takes the figure from what the program prints (nanoseconds, first
	// word); otherwise the figure is the wall time of the whole process.
	reads bool
	took  []time.Duration
}

// turn runs the contender once.
func (c *contender) turn() (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var stdout bytes.Buffer
	if c.reads {
		cmd.Stdout = &stdout
	}
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", c.name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	if !c.reads {
		return took, nil
	}
	fields := strings.Fields(stdout.String())
	if len(fields) == 0 {
		return 0, fmt.Errorf("%s: printed nothing", c.name)
	}
	nanoseconds, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.name, err)
	}
	return time.Duration(nanoseconds), nil
}

// settle is how long the kernel is left alone before each turn: it takes the
// namespaces of the turn before apart after that has ended.
const settle = 5 * time.Millisecond

// inTurns measures contenders in rounds. Each round has another order, so that
// nobody always runs after the same one: what a sandbox leaves the kernel to do
// would be charged to whoever comes next.
func inTurns(contenders []*contender, rounds int) error {
	order := slices.Clone(contenders)
	shuffle := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same orders in every benchmark
	for round := range warmup + rounds {
		shuffle.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, c := range order {
			time.Sleep(settle)
			took, err := c.turn()
			if err != nil {
				return err
			}
			if round >= warmup {
				c.took = append(c.took, took)
			}
		}
	}
	return nil
}

// bench knows where everything is.
type bench struct {
	bin, policy, work string
	rounds            int
	groups            *groups
}

// path is that of a program that run.sh built.
func (b bench) path(name string) string { return filepath.Join(b.bin, name) }

// brig is the command line of one run of brig with further flags. The one id
// that is mapped needs no helper; that is how the others run as well.
func (b bench) brig(flags []string, command ...string) []string {
	argv := append([]string{b.path("brig"), "run", "--policy", b.policy, "--userns", "single"}, flags...)
	return append(append(argv, "--"), command...)
}

// others gives the sandboxes that are installed here, each asked for the
// namespaces and mounts that brig makes. run.sh has copied what it could.
func (b bench) others() []*contender {
	table := []contender{
		{name: "bubblewrap", argv: []string{
			"bwrap", "--unshare-all", "--die-with-parent", "--new-session",
			"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
			"--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
			"--chdir", "/", "/bin/true",
		}},
		{name: "nsjail", argv: []string{
			"nsjail", "-Mo", "--really_quiet", "--chroot", "", "-R", "/usr", "-s", "usr/bin:/bin", "-s", "usr/lib:/lib",
			"-s", "usr/lib64:/lib64", "-T", "/tmp", "--", "/bin/true",
		}},
		{name: "firejail", argv: []string{"firejail", "--quiet", "--noprofile", "--net=none", "/bin/true"}},
		{name: "unshare", argv: []string{"unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--cgroup", "/bin/true"}},
	}
	var found []*contender
	for i := range table {
		path, err := exec.LookPath(b.path(table[i].argv[0]))
		if err != nil {
			path, err = exec.LookPath(table[i].argv[0])
		}
		if err != nil {
			continue
		}
		table[i].argv[0] = path
		found = append(found, &table[i])
	}
	return found
}

// errNothingToCompare is returned where bubblewrap is missing: the limit that
// matters most could not be checked.
var errNothingToCompare = errors.New("bubblewrap is not installed; install the package bubblewrap")

// leaveOutBroken drops those of the others that do not run on this host, and
// says so: a sandbox that cannot start here is no comparison.
func leaveOutBroken(contenders []*contender) ([]*contender, error) {
	var usable []*contender
	for _, c := range contenders {
		if _, err := c.turn(); err != nil {
			if c.name == "bubblewrap" {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "bench: left out: %v\n", err)
			continue
		}
		usable = append(usable, c)
	}
	if len(usable) == 0 || usable[0].name != "bubblewrap" {
		return nil, errNothingToCompare
	}
	return usable, nil
}

// sameMounts refuses a price that is not that of the mounts brig makes: neither
// more nor fewer, at the same places.
func (b bench) sameMounts(price *contender) error {
	list := []string{"/bin/cat", "/proc/self/mounts"}
	made, err := b.mounts(b.brig(nil, list...))
	if err != nil {
		return err
	}
	paid, err := b.mounts(append(slices.Clone(price.argv[:1]), list...))
	if err != nil {
		return err
	}
	if !slices.Equal(made, paid) {
		return fmt.Errorf("brig makes the mounts %q and %s pays for %q", made, price.name, paid)
	}
	return nil
}

// mounts are the mount points that a command prints in the form of proc_mounts(5),
// each with its type, sorted.
func (b bench) mounts(argv []string) ([]string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", argv[0], err)
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 2 {
			list = append(list, f[1]+" "+f[2])
		}
	}
	slices.Sort(list)
	return list, nil
}
