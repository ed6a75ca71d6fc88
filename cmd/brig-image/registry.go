package main

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/registry"
)

// client reads the flags that say how registries are reached.
func client(cmd *cobra.Command) (*registry.Client, error) {
	config, err := registry.ReadConfig(registry.ConfigFiles()...)
	if err != nil {
		return nil, err
	}
	c := &registry.Client{Config: config, Credentials: registry.DefaultCredentials()}
	c.Insecure, _ = cmd.Flags().GetBool("insecure")
	if name, _ := cmd.Flags().GetString("tls-ca"); name != "" {
		if c.Roots, err = authorities(name); err != nil {
			return nil, err
		}
	}
	if quiet, _ := cmd.Flags().GetBool("quiet"); !quiet {
		c.Note = func(note string) { fmt.Fprintf(cmd.ErrOrStderr(), "brig: note: %s\n", safe(note)) }
	}
	return c, nil
}

// authorities adds certificates to the system's.
func authorities(name string) (*x509.CertPool, error) {
	b, err := image.ReadDocument(name)
	if err != nil {
		return nil, fmt.Errorf("--tls-ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("--tls-ca: %s holds no certificate in PEM", name)
	}
	return pool, nil
}

func runPull(cmd *cobra.Command, args []string) error {
	var names []image.Name
	for _, arg := range args {
		n, err := image.ParseName(arg)
		if err != nil {
			return err
		}
		names = append(names, n)
	}
	c, err := client(cmd)
	if err != nil {
		return err
	}
	if text, _ := cmd.Flags().GetString("platform"); text != "" {
		if c.Platform, err = registry.ParsePlatform(text); err != nil {
			return fmt.Errorf("--platform: %w", err)
		}
	}
	o, err := options(cmd)
	if err != nil {
		return err
	}
	s, err := image.OpenDefault()
	if err != nil {
		return err
	}
	for _, n := range names {
		p := newProgress(cmd, "pulling "+n.Familiar(), pullWords)
		c.Progress, o.Note, c.Note = p.layer, p.note, p.note
		pulled, err := c.Pull(cmd.Context(), s, n, o)
		p.end()
		if err != nil {
			return fmt.Errorf("pulling %s: %w", n.Familiar(), err)
		}
		if !pulled.New {
			p.say("%s is up to date", n.Familiar())
		}
		fmt.Fprintln(cmd.OutOrStdout(), pulled.ID)
	}
	return nil
}

func runPush(cmd *cobra.Command, args []string) error {
	n, err := image.ParseName(args[0])
	if err != nil {
		return err
	}
	c, err := client(cmd)
	if err != nil {
		return err
	}
	s, err := image.OpenDefault()
	if err != nil {
		return err
	}
	p := newProgress(cmd, "pushing "+n.Familiar(), pushWords)
	c.Progress, c.Note = p.layer, p.note
	digest, err := c.Push(cmd.Context(), s, n)
	p.end()
	if err != nil {
		return fmt.Errorf("pushing %s: %w", n.Familiar(), err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s@%s\n", n.Repository(), digest)
	return nil
}

// redrawable tells whether progress can be redrawn: stderr is a terminal that
// can move its cursor.
func redrawable() bool {
	term := os.Getenv("TERM")
	return isTerminal(os.Stderr) && term != "" && term != "dumb"
}
