package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// bait is what the hostile programs go for: files, a process and services of
// the caller's, all made for the demo.
type bait struct {
	token   string // is in every secret and in every hostile program's arguments
	secret  string // a private file of the caller's
	victim  string // a file of the caller's that must not change
	input   string // a file given as standard input
	process *exec.Cmd
	tcp     net.Listener
	local   net.Listener
	// connections to either, ever; own and before are those of the demo itself
	// and of earlier runs.
	connections atomic.Int64
	own, before int64
}

const victimText = "intact\n"

func newBait(dir, home string) (*bait, error) {
	b := &bait{
		token:  "brig-demo-" + rand.Text(),
		secret: filepath.Join(home, ".ssh", "id_ed25519"),
		victim: filepath.Join(dir, "victim"),
		input:  filepath.Join(dir, "input"),
	}
	if err := os.MkdirAll(filepath.Dir(b.secret), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.secret, []byte(b.token+"\n"), 0o600); err != nil {
		return nil, err
	}
	return b, b.listen()
}

// listen offers services on the loopback and by an abstract name.
func (b *bait) listen() (err error) {
	if b.tcp, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return err
	}
	if b.local, err = net.Listen("unix", "@"+b.token); err != nil {
		return err
	}
	for _, l := range []net.Listener{b.tcp, b.local} {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				b.connections.Add(1)
				c.Close()
			}
		}()
	}
	return nil
}

func (b *bait) port() string         { return strconv.Itoa(b.tcp.Addr().(*net.TCPAddr).Port) }
func (b *bait) abstractName() string { return b.token }

// reached counts the connections since the run began. A connection of the
// demo's own comes last in the queue: when it was answered, all before it have
// been counted.
func (b *bait) reached() (int64, error) {
	for _, l := range []net.Listener{b.tcp, b.local} {
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			return 0, err
		}
		b.own++
		_, err = io.Copy(io.Discard, c)
		c.Close()
		if err != nil {
			return 0, err
		}
	}
	return b.connections.Load() - b.own - b.before, nil
}

// lay makes everything as it was, before each run.
func (b *bait) lay() error {
	n, err := b.reached()
	if err != nil {
		return err
	}
	b.before += n
	for _, f := range []string{b.victim, b.input} {
		if err := os.WriteFile(f, []byte(victimText), 0o600); err != nil {
			return err
		}
	}
	if b.process != nil && b.process.ProcessState == nil && !b.dead() {
		return nil
	}
	b.process = exec.Command("sleep", "600")
	return b.process.Start()
}

// dead tells whether the process was killed; the kernel's word, since it
// stays a zombie until it is waited for.
func (b *bait) dead() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.process.Process.Pid))
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		return false
	}
	_ = b.process.Wait()
	return true
}

func (b *bait) close() {
	b.tcp.Close()
	b.local.Close()
	if b.process != nil && b.process.ProcessState == nil {
		_ = b.process.Process.Kill()
		_ = b.process.Wait()
	}
}

// left lists the hostile programs that are still there: each has the token as
// its last argument.
func (b *bait) left() []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var list []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(b.token)) {
			list = append(list, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return list
}

func secretKept(f *finished, b *bait) (evidence, wrong string) {
	if strings.Contains(f.stdout+f.stderr, b.token) {
		return "", "the secret was read"
	}
	return refusals(f.stdout), ""
}

func victimKept(f *finished, b *bait) (evidence, wrong string) {
	if unchanged(b.victim) != nil {
		return "", "the file was changed"
	}
	return refusals(f.stdout), ""
}

func inheritedKept(f *finished, b *bait) (evidence, wrong string) {
	if strings.Contains(f.stdout+f.stderr, b.token) {
		return "", "the secret was read through a descriptor"
	}
	if unchanged(b.input) != nil {
		return "", "the file given as input was changed"
	}
	return refusals(f.stdout), ""
}

func processKept(f *finished, b *bait) (evidence, wrong string) {
	if b.dead() {
		return "", "the process was killed"
	}
	return refusals(f.stdout), ""
}

func unreached(f *finished, b *bait) (evidence, wrong string) {
	if n, err := b.reached(); n > 0 || err != nil {
		return "", fmt.Sprintf("services were reached %d times (%v)", n, err)
	}
	return refusals(f.stdout), ""
}

// unchanged tells whether a file still holds what lay wrote.
func unchanged(file string) error {
	text, err := os.ReadFile(file)
	if err == nil && string(text) != victimText {
		return fmt.Errorf("%s holds %q", file, text)
	}
	return err
}
