package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// kvmTime is how long KVM may take to bring a kernel to its first program.
const kvmTime = 5 * time.Second

// processor is what a machine's code runs on.
type processor struct {
	qemu   []string // QEMU's arguments
	kernel string   // what the machine's kernel is told
}

var kvm = processor{qemu: []string{"-accel", "kvm", "-cpu", "host"}}

// What an emulated processor does not claim to have is what would be slower
// emulated than done without: string moves by the byte, which the kernel then
// takes for every page, wide registers, which every switch of tasks saves, and
// protections of memory from the kernel. The kernel is to do without what costs
// much and protects nobody here.
//
// The same code is at the same address in each process: QEMU before 8.1 translates
// it again for each address at which it finds it, and that is most of a process's
// start. The time is the processor's own counter, since the other clocks are
// devices, whose emulation stops the processor; it can be relied on because it is
// the host's. A tick comes at fixed times, since QEMU's main loop is woken by each
// timer that the kernel sets anew; then time is told in steps of 4 ms. Of the security
// modules it has those that restrict somebody here: the others are asked at every file
// and confine nobody.
//
// It starts one of its two processors. QEMU before 8.1 may keep code that one
// processor has translated while another one changed it, and the kernel changes
// its own code whenever the first or last user of some feature comes or goes: it
// then dies of a breakpoint of its own ("Oops: int3"). One processor without
// others to wait for also does more for a CPU of the host. See guest.processors.
var tcg = processor{
	qemu: []string{"-accel", "tcg,thread=multi", "-cpu", "max,xsave=off,smap=off,smep=off,pku=off,la57=off" + noByteMoves},
	kernel: "maxcpus=1 nohz=off highres=off audit=0 norandmaps tsc=reliable clocksource=tsc mitigations=off init_on_alloc=0 hardened_usercopy=off rcupdate.rcu_expedited=1 " +
		"nokaslr lsm=landlock,yama apparmor=0 " +
		"systemd.default_timeout_start_sec=600",
}

// noByteMoves takes string moves by the byte from an emulated processor. With QEMU 10
// a kernel without them hangs before its first program.
const noByteMoves = ",erms=off"

// emulator is the emulated processor for the QEMU that is here.
func emulator(ctx context.Context) processor {
	out, err := exec.CommandContext(ctx, qemu, "--version").Output()
	if err != nil {
		return tcg
	}
	return emulatorOf(string(out))
}

// emulatorOf is the same for what a QEMU says of its version.
func emulatorOf(version string) processor {
	p := tcg
	var major int
	if _, err := fmt.Sscanf(version, "QEMU emulator version %d.", &major); err == nil && major >= 10 {
		p.qemu = slices.Clone(tcg.qemu)
		last := &p.qemu[len(p.qemu)-1]
		*last = strings.TrimSuffix(*last, noByteMoves)
	}
	return p
}

// accelerator picks KVM where a kernel truly boots with it, else emulation. A
// device /dev/kvm says little: inside another virtual machine it may be there
// and fail.
func accelerator(ctx context.Context, image string) (p processor, why string) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return emulator(ctx), err.Error()
	}
	f.Close()
	limited, cancel := context.WithTimeout(ctx, kvmTime)
	defer cancel()
	// A first program that fails makes the kernel panic, and that ends QEMU.
	cmd := exec.CommandContext(limited, qemu, append([]string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio", "-m", "512",
		"-kernel", filepath.Join(image, "kernel"), "-initrd", filepath.Join(image, "initrd"),
		"-append", "console=ttyS0 panic=-1 rdinit=/bin/false",
	}, kvm.qemu...)...)
	out, err := cmd.CombinedOutput()
	if limited.Err() != nil {
		return emulator(ctx), fmt.Sprintf("no kernel boots with /dev/kvm within %v", kvmTime)
	}
	if err != nil || !bytes.Contains(out, []byte("Kernel panic")) {
		return emulator(ctx), fmt.Sprintf("no kernel boots with /dev/kvm: %v: %s", err, lastLine(out))
	}
	return kvm, ""
}

// lastLine is the last line of a program's output that is not empty.
func lastLine(out []byte) []byte {
	out = bytes.TrimSpace(out)
	return out[bytes.LastIndexByte(out, '\n')+1:]
}
