package main

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/e2e/vm/wire"
)

func TestTry(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := time.Now()
	image := os.Getenv("IMG")
	dir := t.TempDir()
	disk, err := payload(ctx, "../..", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("payload", time.Since(b))
	b = time.Now()
	acc, why := accelerator(ctx, image)
	t.Log(acc, why, time.Since(b))
	b = time.Now()
	m, err := start(ctx, image, disk, dir, acc)
	if err != nil {
		t.Fatal(err)
	}
	defer m.kill()
	t.Log("boot", time.Since(b), m.root.Hello, m.user.Hello)
	for _, c := range []string{"id; loginctl; env; ls -la /opt/brig/bin /opt/brig/src; free -m; systemd-analyze; systemd-analyze blame | head -20; systemctl --user status | head -40; systemctl --failed; df; cat /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers", "time /bin/true; time brig run -- true; brig doctor",
		os.Getenv("CMD")} {
		var out bytes.Buffer
		code, err := m.user.run(&out, wire.Command{Argv: []string{"bash", "-c", c}, Seconds: 300})
		t.Log(code, err, out.String(), time.Since(b))
	}
	var out bytes.Buffer
	code, err := m.root.run(&out, wire.Command{Argv: []string{"bash", "-c", "systemd-analyze critical-chain; dmesg | tail -30"}, Seconds: 300})
	t.Log(code, err, out.String(), time.Since(b))
	t.Log(m.tail())
}
