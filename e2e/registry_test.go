package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// The user that a registry with "auth" knows: brig, whose password is secret.
const registryUsers = "brig:$2y$05$M5.oZ7CHBEnPc9hMmAcIMu0qiQ1jbGvZBcslRD1ufHEPGho4fN14G\n"

// cmdRegistry starts a docker-registry on the loopback, in a directory of the
// script's, and puts HOST:PORT into a variable. With tls its certificate is in
// DIR/ca.pem.
//
//	registry VARIABLE DIR [auth] [tls]
func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: registry variable dir [auth] [tls]")
	}
	host, stop, err := startRegistry(ts.MkAbs(args[1]), args[2:]...)
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv(args[0], host)
}

// startRegistry starts one; stop ends it and waits for it.
func startRegistry(dir string, options ...string) (host string, stop func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	// The port is free a moment later, and most likely still is when the registry
	// takes it.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	host = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	config := fmt.Sprintf("version: 0.1\nstorage:\n  filesystem: {rootdirectory: %s/data}\nhttp:\n  addr: %s\n  secret: x\n", dir, host)
	for _, option := range options {
		switch option {
		case "auth":
			if err := os.WriteFile(filepath.Join(dir, "users"), []byte(registryUsers), 0o600); err != nil {
				return "", nil, err
			}
			config += fmt.Sprintf("auth:\n  htpasswd: {realm: test, path: %s/users}\n", dir)
		case "tls":
			if err := certificate(dir); err != nil {
				return "", nil, err
			}
			config = strings.Replace(config, "  secret: x\n", fmt.Sprintf("  secret: x\n  tls: {certificate: %s/ca.pem, key: %s/key.pem}\n", dir, dir), 1)
		default:
			return "", nil, fmt.Errorf("a registry has no option %q", option)
		}
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.Background(), "docker-registry", "serve", file)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	}
	for range 500 {
		c, err := net.Dial("tcp", host)
		if err == nil {
			return host, stop, c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	said, err := os.ReadFile(log.Name())
	return "", nil, errors.Join(fmt.Errorf("the registry does not answer: %s", said), err)
}

// certificate makes one for the loopback, which vouches for itself.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
