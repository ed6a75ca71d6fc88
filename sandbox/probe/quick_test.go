package probe

import "testing"

// systemPaths are those that a plan with the host's root file system asks for.
var systemPaths = []string{
	"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr",
	"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ssl", "/etc/localtime",
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
}

func BenchmarkQuick(b *testing.B) {
	for b.Loop() {
		if _, err := Quick(Question{Paths: systemPaths}); err != nil {
			b.Fatal(err)
		}
	}
}
