package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox"
)

// refusedExit is how a hostile program ends in which nothing came through.
const refusedExit = 3

// containHostile runs each hostile program without brig, where that shows
// something and does no harm, and under brig.
func (d *demo) containHostile() error {
	d.out.section("Hostile programs: each under the policies "+strings.Join(policies, " and "),
		"brig run --policy judge "+strings.Join(hostileFlags(), " ")+" -- ./fork_bomb")
	dir, err := d.compileHostile()
	if err != nil {
		return err
	}
	b, err := newBait(d.dir, d.home)
	if err != nil {
		return err
	}
	defer b.close()
	widths := []int{15, 13, 12}
	d.out.row(widths, "program", "without brig", "with brig", "evidence")
	for _, a := range attacks() {
		if err := d.contain(a, b, dir, widths); err != nil {
			return err
		}
	}
	return nil
}

// compileHostile compiles strangers' programs as one should.
func (d *demo) compileHostile() (dir string, err error) {
	dir = filepath.Join(d.dir, "hostile")
	f, err := d.runJob(job{dir: dir, flags: []string{"--policy", "compile"}, command: []string{
		"sh", "-c", `for f in *.c; do gcc -O1 -o "${f%.c}" "$f" || exit 1; done`,
	}})
	if err == nil && f.Outcome != sandbox.OutcomeOK {
		err = fmt.Errorf("compiling the hostile programs: %s\n%s", f.Message, f.stderr)
	}
	return dir, err
}

// contain tries one attack and writes its row: with the evidence from the first
// policy, which gives more than the others do, or with what is wrong.
func (d *demo) contain(a attack, b *bait, dir string, widths []int) error {
	control := "-"
	if a.control {
		came, err := d.withoutBrig(a, b, dir)
		if err != nil {
			return err
		}
		if control = "comes through"; !came {
			control = "fails"
			d.wrong("%s fails without brig as well, so it proves nothing", a.program)
		}
	}
	evidence, ended := "", ""
	for i, policy := range policies {
		f, shown, wrong, err := d.underBrig(a, b, dir, policy)
		if err != nil {
			return err
		}
		if wrong != "" {
			d.wrong("%s is not contained under %s: %s (%s)", a.program, policy, wrong, f.Outcome)
		}
		if i == 0 || wrong != "" {
			evidence, ended = shown, d.out.green("contained")
		}
		if wrong != "" {
			ended = d.out.red("NOT HELD")
			break
		}
	}
	d.out.row(widths, a.program, control, ended, evidence)
	return nil
}

// arguments are the program's own and the token that finds it again.
func (a attack) arguments(b *bait, more ...string) []string {
	args := []string{"./" + a.program}
	if a.args != nil {
		args = append(args, a.args(b)...)
	}
	return append(append(args, more...), b.token)
}

// withoutBrig tells whether the attack does what it wants on the host itself.
func (d *demo) withoutBrig(a attack, b *bait, dir string) (bool, error) {
	if err := b.lay(); err != nil {
		return false, err
	}
	in, extra, err := b.open()
	if err != nil {
		return false, err
	}
	defer closeAll(append(extra, in))
	cmd := exec.Command(a.arguments(b)[0], a.arguments(b)[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.ExtraFiles = dir, d.environment(), in, extra
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return false, err
	}
	return exit == nil, nil
}

// underBrig runs the attack in a sandbox and says what shows that it was
// contained, or what is wrong.
func (d *demo) underBrig(a attack, b *bait, dir, policy string) (f *finished, evidence, wrong string, err error) {
	if err := b.lay(); err != nil {
		return nil, "", "", err
	}
	in, extra, err := b.open()
	if err != nil {
		return nil, "", "", err
	}
	defer closeAll(append(extra, in))
	flags := append([]string{"--policy", policy}, hostileFlags()...)
	if policy == "judge" {
		flags = append(flags, d.judgeMap...)
	}
	var more []string
	if a.program == "kill_host" {
		more = []string{"all"}
	}
	f, err = d.runJob(job{dir: dir, flags: flags, command: a.arguments(b, more...), stdin: in, extra: extra})
	if err != nil {
		return nil, "", "", fmt.Errorf("%s: %w", a.program, err)
	}
	evidence, wrong = a.assess(f, b)
	if left := leftAfter(b, time.Second); len(left) > 0 {
		wrong = "left behind: " + strings.Join(left, ", ")
	}
	return f, evidence, wrong, nil
}

// assess holds a run against what containment looks like.
func (a attack) assess(f *finished, b *bait) (evidence, wrong string) {
	switch {
	case a.ends != nil && !slices.Contains(a.ends, f.Outcome):
		wrong = "ended otherwise: " + f.Message
	case a.ends == nil && (f.Exit == nil || *f.Exit != refusedExit):
		wrong = "not refused everywhere: " + f.Message
	}
	if wrong != "" {
		return refusals(f.stdout), wrong
	}
	if a.held == nil {
		return refusals(f.stdout), ""
	}
	return a.held(f, b)
}

// leftAfter gives the kernel a moment: what was killed may still be dying.
func leftAfter(b *bait, most time.Duration) []string {
	for end := time.Now().Add(most); ; time.Sleep(10 * time.Millisecond) {
		if left := b.left(); len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// open opens the input, for reading and writing, and what a careless caller
// would leave open: a secret and the root directory.
func (b *bait) open() (in *os.File, extra []*os.File, err error) {
	if in, err = os.OpenFile(b.input, os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	for _, name := range []string{b.secret, "/"} {
		f, err := os.Open(name)
		if err != nil {
			closeAll(append(extra, in))
			return nil, nil, err
		}
		extra = append(extra, f)
	}
	return in, extra, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// try is one line of a hostile program's.
type try struct{ what, result string }

// parseTries reads what hostile.h prints. The result is "ok", the name of an
// error, or a remark.
func parseTries(text string) []try {
	var list []try
	for line := range strings.Lines(text) {
		what, result, found := strings.Cut(strings.TrimSpace(line), "\t")
		if !found {
			continue
		}
		if n, err := strconv.Atoi(result); err == nil {
			if result = unix.ErrnoName(unix.Errno(n)); result == "" {
				result = "error " + strconv.Itoa(n)
			}
		}
		list = append(list, try{sandbox.SafeText(what), sandbox.SafeText(result)})
	}
	return list
}

// refusals groups the tries by their result: "EPERM: mount umount; ...".
func refusals(text string) string {
	var order []string
	by := map[string][]string{}
	for _, t := range parseTries(text) {
		if by[t.result] == nil {
			order = append(order, t.result)
		}
		by[t.result] = append(by[t.result], short(t.what))
	}
	parts := make([]string, len(order))
	for i, result := range order {
		parts[i] = result + " " + strings.Join(by[result], ", ")
	}
	return strings.Join(parts, "; ")
}

// short names a long path by its end.
func short(what string) string {
	const most = 24
	if len(what) <= most || !strings.HasPrefix(what, "/") {
		return what
	}
	prefix := ""
	if rest, found := strings.CutPrefix(what, "/proc/1/root"); found {
		prefix, what = "/proc/1/root", rest
	}
	return prefix + ".../" + filepath.Base(what)
}
