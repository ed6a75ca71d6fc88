package libseccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// TestOrdinaryProgramsRun runs compilers and interpreters under both bases, with
// denials that kill, so that a call which some runtime needs cannot hide.
func TestOrdinaryProgramsRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	out := filepath.Join(dir, "a.out")
	cSource := write("a.c", "#include <stdio.h>\n#include <pthread.h>\nstatic void *f(void *p) { return p; }\nint main(void) { pthread_t t; pthread_create(&t, 0, f, 0); pthread_join(t, 0); puts(\"ok\"); return 0; }\n")
	cxxSource := write("a.cc", "#include <iostream>\n#include <thread>\nint main() { std::thread t([]{}); t.join(); std::cout << \"ok\\n\"; }\n")
	rustSource := write("a.rs", "fn main() { std::thread::spawn(|| ()).join().unwrap(); println!(\"ok\"); }\n")
	goSource := write("a.go", "package main\n\nimport \"fmt\"\n\nfunc main() { c := make(chan bool); go func() { c <- true }(); <-c; fmt.Println(\"ok\") }\n")
	write("A.java", "public class A { public static void main(String[] a) throws Exception { Thread t = new Thread(() -> {}); t.start(); t.join(); System.out.println(\"ok\"); } }\n")
	commands := []struct {
		name string
		need string
		argv []string
		want string
	}{
		{"sh", "sh", []string{"sh", "-c", "mkdir -p d && cp -p /etc/hostname d/x; ls -l d >/dev/null; cat d/x | wc -l >/dev/null; rm -r d; echo ok"}, "ok"},
		{"compile c", "gcc", []string{"gcc", "-O1", "-o", out, cSource, "-lpthread"}, ""},
		{"run c", "gcc", []string{out}, "ok"},
		{"compile c++", "g++", []string{"g++", "-o", out, cxxSource, "-lpthread"}, ""},
		{"run c++", "g++", []string{out}, "ok"},
		{"python", "python3", []string{"python3", "-c", "import subprocess, threading, tempfile, random\nt = threading.Thread(target=lambda: None); t.start(); t.join()\ntempfile.TemporaryFile().close()\nprint(subprocess.run(['echo', 'ok'], capture_output=True, text=True).stdout.strip())"}, "ok"},
		{"node", "node", []string{"node", "-e", "require('child_process').execSync('true'); setTimeout(() => console.log('ok'), 1)"}, "ok"},
		{"javac", "javac", []string{"javac", "-d", dir, filepath.Join(dir, "A.java")}, ""},
		{"java", "javac", []string{"java", "-cp", dir, "A"}, "ok"},
		{"compile go", "go", []string{"go", "build", "-o", out, goSource}, ""},
		{"run go", "go", []string{out}, "ok"},
		{"compile rust", "rustc", []string{"rustc", "-o", out, rustSource}, ""},
		{"run rust", "rustc", []string{out}, "ok"},
	}
	for _, base := range []string{"default", "strict"} {
		file := program(t, seccomp.Settings{Base: base, OnDeny: "kill"}, seccomp.Options{SupervisedMemory: true})
		for _, c := range commands {
			t.Run(base+" "+c.name, func(t *testing.T) {
				if _, err := exec.LookPath(c.need); err != nil {
					sandboxtest.Lacks(t, c.need, err)
				}
				t.Chdir(dir)
				path, err := exec.LookPath(c.argv[0])
				if err != nil {
					t.Fatal(err)
				}
				got, killed := underFilter(t, file, append([]string{"exec", path}, c.argv[1:]...)...)
				if killed {
					t.Fatal("the filter ended it")
				}
				if c.want != "" && strings.TrimSpace(got) != c.want {
					t.Errorf("said %q, want %q", got, c.want)
				}
			})
		}
	}
}

// BenchmarkLoad measures what loading the default filters costs the kernel, in
// fresh processes.
func BenchmarkLoad(b *testing.B) {
	file := program(b, seccomp.Settings{Base: "default"}, seccomp.Options{})
	total := 0
	n := 0
	for b.Loop() {
		out, _ := underFilter(b, file, "load")
		ns, err := strconv.Atoi(out)
		if err != nil {
			b.Fatal(err)
		}
		total += ns
		n++
	}
	b.ReportMetric(float64(total)/float64(n), "ns/load")
}
