package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// isTLS tells whether an error is about a certificate or about there being no
// TLS.
func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &authority) ||
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// worthTrying tells whether the same request may succeed a moment later.
func worthTrying(err error) bool {
	var status *transport.Error
	if errors.As(err, &status) {
		return status.StatusCode >= 500 || status.StatusCode == http.StatusTooManyRequests || status.StatusCode == http.StatusRequestTimeout
	}
	return !isTLS(err) && !errors.Is(err, errPlain) && !strings.Contains(err.Error(), "redirected ")
}

// explain makes a sentence of what went wrong between brig and a registry, with
// the image as the user knows it. Addresses lose their queries, in which
// signatures and tokens are.
func (c *Client) explain(ctx context.Context, err error, n image.Name, known bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var status *transport.Error
	var address *url.Error
	switch {
	case errors.As(err, &status):
		return explainStatus(status, n, known)
	case isTLS(err):
		return fmt.Errorf("%s: %w\n  fix: give the authority of its certificate with --tls-ca; a registry without TLS, or with a certificate of no authority, has to be allowed: --insecure, or insecure = true in registries.toml", n.Domain, bare(err))
	case errors.Is(err, errPlain):
		return fmt.Errorf("%s: %w\n  fix: allow it: --insecure, or insecure = true for that host in registries.toml", n.Domain, bare(err))
	case errors.As(err, &address):
		return fmt.Errorf("%s: %w", n.Domain, clippedError{bare(err)})
	}
	return fmt.Errorf("%s: %w", n.Domain, clippedError{err})
}

// clippedError is an error that says no more than a screen holds: some quote
// what a registry sent.
type clippedError struct{ error }

// Error implements error.
func (c clippedError) Error() string { return clip(c.error.Error(), 1500) }

// Unwrap gives the whole.
func (c clippedError) Unwrap() error { return c.error }

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// bare is the error of a request without its address, or with the host alone.
func bare(err error) error {
	var address *url.Error
	if !errors.As(err, &address) {
		return err
	}
	return address.Err
}

func explainStatus(e *transport.Error, n image.Name, known bool) error {
	said := http.StatusText(e.StatusCode)
	if len(e.Errors) > 0 {
		d := e.Errors[0]
		said = strings.Trim(string(d.Code)+": "+d.Message, ": ")
		said = clip(said, 200)
	}
	said = fmt.Sprintf("%d %s", e.StatusCode, said)
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		fix := "log in with docker login or podman login, whose credentials brig uses; a repository that does not exist may look the same"
		if known {
			fix = "the stored credentials do not suffice: log in again with docker login or podman login"
		}
		return fmt.Errorf("%s refuses access to %s (%s)\n  fix: %s", n.Domain, n.Path, said, fix)
	case http.StatusNotFound:
		return fmt.Errorf("%w at %s: %s (%s)", image.ErrNotFound, n.Domain, n.Familiar(), said)
	}
	return fmt.Errorf("%s answers: %s", n.Domain, said)
}
