package sandbox

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkStdioShort is what the pump adds to a job that prints one line.
func BenchmarkStdioShort(b *testing.B) {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	got := make([]byte, 64)
	for b.Loop() {
		s, err := openStdio(nil, w, w, 16<<20, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.start(); err != nil {
			b.Fatal(err)
		}
		_, _ = unix.Write(s.jobEnds[1], []byte("hello\n"))
		s.closeJobEnds()
		if err := s.finish(-1); err != nil {
			b.Fatal(err)
		}
		_, _ = r.Read(got)
	}
}

// BenchmarkStdioFlood is a job that only writes, into a caller's pipe and file.
func BenchmarkStdioFlood(b *testing.B) {
	const chunk = 64 << 10
	for _, sink := range []string{"pipe", "null"} {
		b.Run(sink, func(b *testing.B) {
			var w *os.File
			if sink == "pipe" {
				r, wr, err := os.Pipe()
				if err != nil {
					b.Fatal(err)
				}
				w = wr
				defer r.Close()
				go func() {
					buf := make([]byte, chunk)
					for {
						if _, err := r.Read(buf); err != nil {
							return
						}
					}
				}()
			} else {
				f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
				if err != nil {
					b.Fatal(err)
				}
				w = f
			}
			defer w.Close()
			s, err := openStdio(nil, w, nil, Unknown, nil)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.start(); err != nil {
				b.Fatal(err)
			}
			data := make([]byte, chunk)
			b.SetBytes(chunk)
			for b.Loop() {
				if _, err := unix.Write(s.jobEnds[1], data); err != nil {
					b.Fatal(err)
				}
			}
			s.closeJobEnds()
			if err := s.finish(-1); err != nil {
				b.Fatal(err)
			}
		})
	}
}
