package launch

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

var artefacts = []struct {
	name    string
	machine elf.Machine
}{{"init_amd64", elf.EM_X86_64}, {"init_arm64", elf.EM_AARCH64}}

func TestArtefacts(t *testing.T) {
	for _, a := range artefacts {
		t.Run(a.name, func(t *testing.T) {
			image, err := os.ReadFile("init/" + a.name)
			if err != nil {
				t.Fatal(err)
			}
			if len(image) > 4096 {
				t.Errorf("%d bytes", len(image))
			}
			f, err := elf.NewFile(bytes.NewReader(image))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != a.machine || f.Type != elf.ET_EXEC || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
				t.Errorf("machine %s type %s class %s %s", f.Machine, f.Type, f.Class, f.Data)
			}
			loads := 0
			for _, p := range f.Progs {
				switch p.Type {
				case elf.PT_LOAD:
					loads++
					if p.Flags != elf.PF_R|elf.PF_X {
						t.Errorf("a segment with %s: nothing of init may be writable", p.Flags)
					}
					if p.Memsz != p.Filesz || f.Entry < p.Vaddr || f.Entry >= p.Vaddr+p.Memsz {
						t.Errorf("segment at %#x, %d bytes of file, %d of memory, entry %#x", p.Vaddr, p.Filesz, p.Memsz, f.Entry)
					}
				case elf.PT_GNU_STACK:
					if p.Flags&elf.PF_X != 0 {
						t.Error("an executable stack")
					}
				case elf.PT_INTERP, elf.PT_DYNAMIC, elf.PT_TLS:
					t.Errorf("has %s", p.Type)
				default: // notes and their like
				}
			}
			if loads != 1 {
				t.Errorf("%d segments, want one", loads)
			}
			for _, s := range f.Sections {
				if name := s.Name; name == ".data" || name == ".bss" || strings.HasPrefix(name, ".debug") || name == ".comment" {
					t.Errorf("has a section %s", name)
				}
			}
		})
	}
}

func TestInitIsShort(t *testing.T) {
	src, err := os.ReadFile("init/init.c")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(src, []byte("\n")); n >= 400 {
		t.Errorf("init.c has %d lines", n)
	}
	for _, a := range []string{"CALL", "COMPARE", "WAIT", "FORK", "EXEC", "SERVE", "SKIP", "JUMP"} {
		if !bytes.Contains(src, []byte(" *   "+a)) {
			t.Errorf("init.c does not explain %s", a)
		}
	}
}

// The artefacts are what the source gives. Another version of the compiler may
// give something else, so the one that was used is recorded beside them.
func TestArtefactsRebuild(t *testing.T) {
	recorded, err := os.ReadFile("init/TOOLCHAIN")
	if err != nil {
		t.Fatal(err)
	}
	have, err := exec.Command("init/build.sh", "--toolchain").Output()
	if err != nil {
		sandboxtest.Lacks(t, "toolchain", fmt.Errorf("the compilers for both architectures: %w", err))
	}
	if !bytes.Equal(have, recorded) {
		sandboxtest.Lacks(t, "toolchain", fmt.Errorf("the artefacts were built with %q, here is %q", recorded, have))
	}
	dir := t.TempDir()
	if out, err := exec.Command("init/build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, out)
	}
	for _, name := range []string{"init_amd64", "init_arm64", "TOOLCHAIN"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("init/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what init.c gives: run sandbox/launch/init/build.sh and commit the result", name)
		}
	}
}

// What init does first can be seen without a kernel of its architecture: with
// no program behind descriptor 4 it ends with status 125.
func TestInitAloneEnds(t *testing.T) {
	for _, a := range []struct{ name, runner string }{{"init_amd64", ""}, {"init_arm64", "qemu-aarch64-static"}} {
		t.Run(a.name, func(t *testing.T) {
			name, err := filepath.Abs("init/" + a.name)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(name)
			if a.runner != "" {
				runner, err := exec.LookPath(a.runner)
				if err != nil {
					sandboxtest.Lacks(t, a.runner, err)
				}
				cmd = exec.Command(runner, name)
			}
			err = cmd.Run()
			if e := (*exec.ExitError)(nil); errors.As(err, &e) && e.ExitCode() == 125 {
				return
			} else if errors.As(err, &e) && !e.Exited() || err == nil {
				t.Errorf("ended with %v, want status 125", err)
			} else {
				sandboxtest.Lacks(t, a.name, fmt.Errorf("this machine does not run it: %w", err))
			}
		})
	}
}
