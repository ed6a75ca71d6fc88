// Command vm gives a person a shell in one of the virtual machines that the
// tests run in (make vm-shell), runs one command in one, or makes their images
// beforehand:
//
//	vm shell [-root] [-system debian13]
//	vm run [-root] [-system debian13] command [arg...]
//	vm image [-system debian13]
//
// The machines are Debian with systemd, as users have it. An image is made once
// from Debian's packages by the recipe in image/ and kept in the user's cache
// directory, named by the recipe's content; a machine never changes it. QEMU
// runs it with KVM where a kernel truly boots with that, else emulated.
//
// A machine has two logins on virtio consoles, alice's and root's, each a
// session that PAM opened. In a test an agent (agent/) takes the shell's place
// and runs what the host says over a virtio-serial port; what it runs belongs
// to the login's session as if somebody had typed it. The test binary's report
// comes back the same way and its tests become subtests of TestMachines.
// Variants, such as a machine without /etc/subuid, are changes that root makes
// in the running machine and undoes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/brig-sandbox/brig/e2e/vm/wire"
)

// runTime bounds one command.
const runTime = time.Hour

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "vm: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: vm shell|run|image [flags]")
	}
	flags := flag.NewFlagSet("vm "+args[0], flag.ContinueOnError)
	name := flags.String("system", systems[len(systems)-1].name, "the machine's system")
	asRoot := flags.Bool("root", false, "root's shell and not alice's")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	s, err := systemNamed(*name)
	if err != nil {
		return err
	}
	image, err := s.image(ctx)
	if err != nil {
		return err
	}
	switch args[0] {
	case "image":
		_, err := fmt.Println(image)
		return err
	case "shell", "run":
	default:
		return fmt.Errorf("unknown command %q: want shell, run or image", args[0])
	}
	dir, err := os.MkdirTemp("", "brig-test-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, err := payload(ctx, ".", dir)
	if err != nil {
		return err
	}
	p, why := accelerator(ctx, image)
	if why != "" {
		fmt.Fprintln(os.Stderr, "vm: without KVM everything is slow:", why)
	}
	if args[0] == "shell" {
		return shell(ctx, s, arguments(image, disk, p, "shell"), dir, *asRoot)
	}
	m, err := start(ctx, image, disk, filepath.Join(dir, "console"), p)
	if err != nil {
		return err
	}
	defer m.kill()
	session := m.user
	if *asRoot {
		session = m.root
	}
	code, err := session.run(os.Stdout, wire.Command{Argv: flags.Args(), Seconds: int(runTime.Seconds())})
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %d", flags.Arg(0), code)
	}
	return err
}

// shell becomes the terminal of one of a machine's two logins, until the person
// there logs out.
func shell(ctx context.Context, s system, args []string, dir string, asRoot bool) error {
	// hvc0 is alice's login, hvc1 root's; the terminal is for one of them.
	mine, other := "virtconsole,chardev=terminal", "virtconsole,chardev=nowhere"
	login := []string{"-device", mine, "-device", other}
	who := "alice"
	if asRoot {
		login[1], login[3] = other, mine
		who = "root"
	}
	fmt.Fprintf(os.Stderr, "vm: %s boots; %s is logged in. Leave with exit, or with Ctrl-A X.\n", s.name, who)
	cmd := exec.CommandContext(ctx, qemu, append(append(args,
		"-chardev", "file,id=console,path="+filepath.Join(dir, "console"), "-serial", "chardev:console",
		"-chardev", "stdio,id=terminal,mux=on,signal=off", "-chardev", "null,id=nowhere"), login...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
