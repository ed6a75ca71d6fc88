package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// commands are what scripts have beyond testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"compile":   cmdCompile,
	"exits":     cmdExits,
	"json":      cmdJSON,
	"listen":    cmdListen,
	"need":      cmdNeed,
	"needflag":  cmdNeedFlag,
	"payload":   cmdPayload,
	"registry":  cmdRegistry,
	"unreached": cmdUnreached,
}

// slowVariable tells scripts how many times longer than on an ordinary machine
// things may take here: an emulated processor is far slower. What cannot hold
// there is behind the condition [!slow].
const slowVariable = "BRIG_TEST_SLOW"

// testKey finds the running test in a script's values.
type testKey struct{}

// leave removes a script's home. What an image store holds may belong to
// subordinate ids, which only brig can remove: a script that ended early has not.
func leave(home string) {
	for _, data := range []string{filepath.Join(home, ".local", "share"), filepath.Join(home, "data")} {
		if _, err := os.Stat(filepath.Join(data, "brig")); err == nil {
			cmd := exec.Command(filepath.Join(brigDir, "brig"), "prune", "--all", "--containers")
			cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+data)
			_ = cmd.Run() // what is left is found by who looks for leaks
		}
	}
	_ = os.RemoveAll(home)
}

// setup gives each script a PATH with the brig under test in front and a home
// of its own, which is not below the working directory: brig never gives a job
// the caller's home or what lies above it.
func setup(env *testscript.Env) error {
	home, err := os.MkdirTemp("", "brig-test-home-")
	if err != nil {
		return err
	}
	env.Defer(func() { leave(home) })
	if os.Geteuid() == 0 {
		// Root's sandboxes run with ids that cannot enter root's private
		// directories; an ordinary user's stay private, as they are by default.
		if err := os.Chmod(filepath.Dir(env.WorkDir), 0o755); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	// A session's bus, without which systemctl finds no user manager.
	for _, name := range []string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} {
		if value, ok := os.LookupEnv(name); ok {
			env.Setenv(name, value)
		}
	}
	env.Setenv("HOSTPID", strconv.Itoa(os.Getpid()))
	env.Setenv("BRIG", filepath.Join(brigDir, "brig"))
	env.Setenv("PATH", brigDir+":/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
	// What a script counts on: the time in which a brig that was started has
	// begun its job, that in which a job has done something, both in seconds, and
	// how many are many.
	env.Setenv("MOMENT", "0.6")
	env.Setenv("SPAN", "3")
	env.Setenv("MANY", "1000")
	if slow() > 1 {
		env.Setenv("MOMENT", "4")
		env.Setenv("SPAN", "20")
		env.Setenv("MANY", "100")
	}
	env.Values[testKey{}] = env.T()
	env.Values[listenersKey{}] = &listeners{}
	env.Defer(func() { leftInTemp(env.T(), env.Getenv("TMPDIR")) })
	return nil
}

// leftInTemp fails a script that leaves something of brig's in its temporary
// directory, which is removed with the script.
func leftInTemp(t testscript.T, dir string) {
	var left []string
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var err error
		left, err = filepath.Glob(filepath.Join(dir, "*brig*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	t.Fatal("left behind in the temporary directory:", strings.Join(left, " "))
}

func isMissing(err error) bool {
	return !errors.Is(err, sandboxtest.ErrUnknownFeature)
}

// cmdNeed skips the script unless the host has each feature; see
// sandboxtest.Need.
//
//	need userns subid
func cmdNeed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: need feature...")
	}
	for _, feature := range args {
		err := sandboxtest.Has(feature)
		if err == nil {
			continue
		}
		if !isMissing(err) || sandboxtest.Required(feature) {
			ts.Fatalf("needs %s: %v", feature, err)
		}
		sandboxtest.RecordSkip("TestScripts/"+ts.Name(), feature, err)
		ts.Value(testKey{}).(testscript.T).Skip(fmt.Sprintf("needs %s: %v", feature, err))
	}
}

// cmdNeedFlag skips the script where a command of brig lacks a flag.
//
//	needflag run --cgroup-manager
func cmdNeedFlag(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: needflag command --flag")
	}
	help, err := exec.Command(ts.Getenv("BRIG"), args[0], "--help").CombinedOutput()
	ts.Check(err)
	if !strings.Contains(string(help), args[1]+" ") {
		err := fmt.Errorf("this brig has no %s %s", args[0], args[1])
		sandboxtest.RecordSkip("TestScripts/"+ts.Name(), args[1], err)
		ts.Value(testKey{}).(testscript.T).Skip(err)
	}
}

// slow is the factor that slowVariable names, 1 where it does not.
func slow() int {
	if n, err := strconv.Atoi(os.Getenv(slowVariable)); err == nil && n > 1 {
		return n
	}
	return 1
}

// cmdExits runs a program and checks its exact exit code, and with -within
// that it took no longer than that; a slow machine has more time. Its output is there for stdout and stderr.
//
//	exits 124 -within 2s brig run --wall-time 1s -- sleep 60
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "usage: exits code [-within duration] program [arg...]"
	if neg || len(args) < 2 {
		ts.Fatalf(usage)
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	args = args[1:]
	var within time.Duration
	if args[0] == "-within" {
		if len(args) < 3 {
			ts.Fatalf(usage)
		}
		within, err = time.ParseDuration(args[1])
		ts.Check(err)
		args = args[2:]
	}
	within *= time.Duration(slow())
	begin := time.Now()
	err = ts.Exec(args[0], args[1:]...)
	took := time.Since(begin)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	if within > 0 && took > within {
		ts.Fatalf("took %v, want at most %v", took.Round(time.Millisecond), within)
	}
}

// cmdJSON compares one value of a JSON file. A path is written .key.key[0];
// [key=value] picks the element of an array by one of its members. Numbers are
// compared as numbers; ~ tests for a substring; exists and absent take no value.
//
//	json r.json .outcome == memory_limit
//	json r.json '.receipt[limit=memory].hit' == yes
//	! json r.json .usage.memory_peak_bytes '<' 1048576
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 && (len(args) != 3 || (args[2] != "exists" && args[2] != "absent")) {
		ts.Fatalf("usage: json file path ==|!=|<|<=|>|>=|~ value, or json file path exists|absent")
	}
	var document any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &document); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	got, found, err := lookUp(document, args[1])
	ts.Check(err)
	var holds bool
	switch {
	case args[2] == "exists":
		holds = found
	case args[2] == "absent":
		holds = !found
	case !found:
		ts.Fatalf("%s: nothing at %s", args[0], args[1])
	default:
		holds, err = compare(got, args[2], args[3])
		ts.Check(err)
	}
	if holds == neg {
		ts.Fatalf("%s: %s is %v; the check %q failed", args[0], args[1], got, strings.Join(args[2:], " "))
	}
}

// lookUp walks a decoded document along a path such as .a.b[0][k=v].c.
func lookUp(value any, path string) (any, bool, error) {
	for rest := path; rest != ""; {
		switch rest[0] {
		case '.':
			key := rest[1:]
			if end := strings.IndexAny(key, ".["); end >= 0 {
				key = key[:end]
			}
			rest = rest[1+len(key):]
			if key == "" {
				continue
			}
			object, ok := value.(map[string]any)
			if !ok {
				return nil, false, nil
			}
			if value, ok = object[key]; !ok {
				return nil, false, nil
			}
		case '[':
			inner, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				return nil, false, fmt.Errorf("path %s: no closing ]", path)
			}
			rest = after
			if value, ok = element(value, inner); !ok {
				return nil, false, nil
			}
		default:
			return nil, false, fmt.Errorf("path %s: want . or [ at %q", path, rest)
		}
	}
	return value, true, nil
}

// element picks from an array by index or, written key=value, by a member.
func element(value any, which string) (any, bool) {
	array, ok := value.([]any)
	if !ok {
		return nil, false
	}
	if key, want, byMember := strings.Cut(which, "="); byMember {
		for _, item := range array {
			if object, ok := item.(map[string]any); ok && fmt.Sprint(object[key]) == want {
				return item, true
			}
		}
		return nil, false
	}
	index, err := strconv.Atoi(which)
	if err != nil || index < 0 || index >= len(array) {
		return nil, false
	}
	return array[index], true
}

func compare(got any, op, want string) (bool, error) {
	text := fmt.Sprint(got)
	number, isNumber := got.(float64)
	if isNumber {
		text = strconv.FormatFloat(number, 'f', -1, 64)
	}
	switch op {
	case "==":
		return text == want, nil
	case "!=":
		return text != want, nil
	case "~":
		return strings.Contains(text, want), nil
	}
	limit, err := strconv.ParseFloat(want, 64)
	if err != nil || !isNumber {
		return false, fmt.Errorf("%s %s %s: both sides must be numbers", text, op, want)
	}
	switch op {
	case "<":
		return number < limit, nil
	case "<=":
		return number <= limit, nil
	case ">":
		return number > limit, nil
	case ">=":
		return number >= limit, nil
	}
	return false, fmt.Errorf("unknown operator %q", op)
}
