package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/brig-sandbox/brig/sandbox"
)

// job is one call of `brig run`.
type job struct {
	dir     string   // the caller's directory
	flags   []string // before the command
	command []string
	stdin   *os.File
	extra   []*os.File // descriptors 3 and up of brig, which no job may get
}

// finished is how it ended.
type finished struct {
	sandbox.Result
	stdout, stderr string
}

// runJob runs a job. That the job fails is no error; that brig does is one.
func (d *demo) runJob(j job) (*finished, error) {
	d.runs++
	result := filepath.Join(d.dir, fmt.Sprintf("result-%d.json", d.runs))
	args := append([]string{"run", "--quiet", "--result", result}, j.flags...)
	cmd := exec.Command(d.brig, append(append(args, "--"), j.command...)...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = j.dir, d.environment(), j.extra
	if j.stdin != nil {
		cmd.Stdin = j.stdin
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	f := &finished{stdout: stdout.String(), stderr: stderr.String()}
	text, err := os.ReadFile(result)
	if err == nil {
		err = json.Unmarshal(text, &f.Result)
	}
	if err != nil || f.Outcome == sandbox.OutcomeError {
		why := strings.TrimSpace(f.stderr)
		if why == "" {
			why = f.Message
		}
		return nil, fmt.Errorf("brig run %s -- %s: %s", shell(j.flags...), shell(j.command...), why)
	}
	return f, nil
}

// environment is the caller's with another home, so that brig's caches and
// what the hostile programs look for lie below the demo's own directory.
func (d *demo) environment() []string {
	env := []string{"HOME=" + d.home, "XDG_CACHE_HOME=" + filepath.Join(d.home, ".cache"), "XDG_CONFIG_HOME=" + filepath.Join(d.home, ".config")}
	for _, name := range []string{"PATH", "LANG", "TMPDIR", "XDG_RUNTIME_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// receipt is the line about one limit.
func (f *finished) receipt(limit string) sandbox.Receipt {
	for _, r := range f.Receipt {
		if r.Limit == limit {
			return r
		}
	}
	return sandbox.Receipt{Peak: sandbox.Unknown}
}

// cpu is the time used, for people.
func (f *finished) cpu() string { return seconds(f.Usage.CPU) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// memory is the peak in MiB, or a dash where nothing measured it.
func (f *finished) memory() string {
	if f.Usage.MemoryPeakBytes < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f MiB", float64(f.Usage.MemoryPeakBytes)/(1<<20))
}

// shell writes a command so that it can be pasted.
func shell(args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n*?$;&|<>()'\"\\") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
