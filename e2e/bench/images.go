package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// The images that are measured: as many megabytes as their names say, and
// sharedFile in the larger one, which jobs read.
const (
	smallImage = "bench:10"
	largeImage = "bench:1000"
	sharedFile = "/shared"
	sharedMB   = 64
)

// imageTar writes an image of megabytes as a package manager would leave it,
// files of 64 kB in directories of fifty. Its programs are the host's, which
// are mounted into it, as with the root that it is compared with.
func imageTar(w io.Writer, megabytes int) error {
	t := tar.NewWriter(w)
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + dir); err == nil {
			if err := t.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}); err != nil {
				return err
			}
		}
	}
	if err := t.WriteHeader(&tar.Header{Name: "usr/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		return err
	}
	file := func(name string, b []byte) error {
		if err := t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err := t.Write(b)
		return err
	}
	text := bytes.Repeat([]byte("brig measures this.\n"), 3277)[:64<<10]
	if megabytes > sharedMB {
		if err := file(sharedFile[1:], bytes.Repeat(text, sharedMB*16)); err != nil {
			return err
		}
		megabytes -= sharedMB
	}
	for i := range megabytes * 16 {
		if err := file(fmt.Sprintf("srv/%d/%d", i/50, i), text); err != nil {
			return err
		}
	}
	return t.Close()
}

// importImage gives brig an image.
func (b bench) importImage(name string, megabytes int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	written := make(chan error, 1)
	go func() {
		err := imageTar(w, megabytes)
		w.Close()
		written <- err
	}()
	cmd := exec.Command(b.path("brig"), "import", "--quiet", "-", name)
	cmd.Stdin = r
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("importing %s: %w: %s", name, err, out)
	}
	return <-written
}

// fromImage is the command line of a run on an image.
func (b bench) fromImage(image string, command ...string) []string {
	return append([]string{b.path("brig"), "run", "-v", "/usr:/usr:ro", "--image", image, "--"}, command...)
}

// images measures what an image costs at the start of a job, and how much
// memory jobs on the same image share.
func (b bench) images(r *report) error {
	for name, megabytes := range map[string]int{smallImage: 10, largeImage: 1000} {
		if err := b.importImage(name, megabytes); err != nil {
			return err
		}
	}
	host := &contender{name: "host root, the same policy", argv: []string{b.path("brig"), "run", "--policy", "image", "-u", "0", "--", "/bin/true"}}
	small := &contender{name: "image of 10 MB", argv: b.fromImage(smallImage, "/bin/true")}
	large := &contender{name: "image of 1 GB", argv: b.fromImage(largeImage, "/bin/true")}
	list := []*contender{host, small, large}
	if err := inTurns(list, b.rounds); err != nil {
		return err
	}
	r.groups = append(r.groups, group{"cold start of /bin/true from an image", list, host})
	one, err := b.shared(1)
	if err != nil {
		return err
	}
	ten, err := b.shared(10)
	if err != nil {
		return err
	}
	r.checks = append(r.checks,
		check{"an image of 10 MB more", milliseconds(median(small.took) - median(host.took)), " ms", 1, 0.5, ""},
		check{"an image of 1 GB more", milliseconds(median(large.took) - median(host.took)), " ms", 1, 0.5, ""},
		check{"memory of ten jobs / of one", ten / one, "×", 2, 1.5, fmt.Sprintf("each reads %d MB of the image; one takes %.0f MB", sharedMB, one)},
	)
	return nil
}

// shared runs jobs that map the same file of an image and touch all of it, at
// once, and returns the sum of their proportional shares of memory in MB: pages
// that several map are divided among them (proc_pid_smaps(5)).
func (b bench) shared(jobs int) (float64, error) {
	const touch = `import mmap,sys
f=open("` + sharedFile + `","rb"); m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ)
n=sum(m[i] for i in range(0,len(m),4096))
print("ready",flush=True); sys.stdin.readline()
print(next(l.split()[1] for l in open("/proc/self/smaps_rollup") if l.startswith("Pss:")),flush=True); sys.stdin.readline()`
	type running struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out io.Reader
	}
	var list []running
	defer func() {
		for _, j := range list {
			j.in.Close()
			_ = j.cmd.Wait()
		}
	}()
	for range jobs {
		argv := b.fromImage(largeImage, "python3", "-c", touch)
		cmd := exec.Command(argv[0], argv[1:]...)
		in, err := cmd.StdinPipe()
		if err != nil {
			return 0, err
		}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return 0, err
		}
		list = append(list, running{cmd, in, out})
	}
	line := func(j running) (string, error) {
		buf := make([]byte, 64)
		n, err := j.out.Read(buf)
		return strings.TrimSpace(string(buf[:n])), err
	}
	for _, j := range list {
		if said, err := line(j); err != nil || said != "ready" {
			return 0, fmt.Errorf("a job on the image said %q: %w", said, err)
		}
	}
	var sum float64
	for _, j := range list {
		if _, err := io.WriteString(j.in, "\n"); err != nil {
			return 0, err
		}
		said, err := line(j)
		if err != nil {
			return 0, err
		}
		kB, err := strconv.ParseFloat(said, 64)
		if err != nil {
			return 0, err
		}
		sum += kB / 1024
	}
	return sum, nil
}
