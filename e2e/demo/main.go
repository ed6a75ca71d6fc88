// Command demo shows brig at work on real and on hostile jobs: submissions are
// compiled and judged, the test suite of a Go module runs on a copy-on-write
// view of its source, and programs that try to break out are contained. It
// exits with a failure when anything went otherwise than expected.
//
// It is started by run.sh, which builds it, lays out its directory and drops
// root.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// errUnexpected says that a job ended otherwise than it should have. What and
// where was printed already.
var errUnexpected = errors.New("not everything went as it should, as the marked lines say")

func run() error {
	brig := flag.String("brig", "", "the brig `program`")
	dir := flag.String("dir", "", "`directory` with submissions, tests, hostile and module, to work in")
	goroot := flag.String("goroot", "", "`directory` of the Go toolchain for the module's tests")
	module := flag.String("module", "", "`name` of the module in the directory \"module\"")
	flag.Parse()
	if *brig == "" || *dir == "" || *goroot == "" || *module == "" || flag.NArg() > 0 {
		return errors.New("usage: demo -brig FILE -dir DIR -goroot DIR -module NAME")
	}
	out := newPrinter(os.Stdout)
	d, err := newDemo(*brig, *dir, out)
	if err != nil {
		return err
	}
	begin := time.Now()
	for _, section := range []func() error{
		d.judgeSubmissions,
		func() error { return d.testModule(*module, *goroot) },
		d.containHostile,
	} {
		if err := section(); err != nil {
			return err
		}
	}
	if d.unexpected > 0 {
		return errUnexpected
	}
	out.printf("\n%s: %d sandboxes in %.0f s, as uid %d.\n", out.green("All as expected"), d.runs, time.Since(begin).Seconds(), os.Getuid())
	return nil
}

// demo is what the sections share.
type demo struct {
	brig string // the program
	dir  string // everything lies below it
	home string // stands for the caller's home
	out  *printer
	// unexpected counts the jobs that ended otherwise than they should have.
	unexpected int
	runs       int
	judgeMap   []string // flags that let the policy judge run here
}

func newDemo(brig, dir string, out *printer) (*demo, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	d := &demo{brig: brig, dir: dir, home: filepath.Join(dir, "home"), out: out}
	return d, os.MkdirAll(d.home, 0o700)
}

// wrong notes and marks something unexpected.
func (d *demo) wrong(format string, args ...any) {
	d.unexpected++
	d.out.printf("  %s %s\n", d.out.red("!"), fmt.Sprintf(format, args...))
}
