package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultStall is how long nothing may move on a connection.
const DefaultStall = 30 * time.Second

// leastMoved is how many bytes count as something: a registry that sends one at
// a time would keep a pull busy for ever.
const leastMoved = 4 << 10

// digestFactor is how many times longer a registry may take over what it was
// sent: it computes a digest, and may move the blob to another place.
const digestFactor = 10

// errStalled is the cause where nothing moved for too long.
var errStalled = errors.New("nothing has moved on the connection for too long")

// errPlain is wrapped where only plain HTTP would do.
var errPlain = errors.New("plain HTTP is not allowed")

// newTransport is what all requests go through. The hosts that are insecure may
// be spoken to without TLS, or with a certificate of any kind; whoever else a
// registry leads to may not.
func newTransport(roots *x509.CertPool, insecure []string, stall time.Duration) http.RoundTripper {
	secure := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: stall, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: stall,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		// Digests are of what is sent: nothing may be unpacked on the way.
		DisableCompression:     true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
	anyone := secure.Clone()
	anyone.TLSClientConfig.InsecureSkipVerify = true //nolint:gosec // for the hosts for which somebody asked for it
	return &stallGuard{inner: &router{secure: secure, anyone: anyone, insecure: insecure}, after: stall}
}

// router sends a request the way its host allows.
type router struct {
	secure, anyone http.RoundTripper
	insecure       []string
}

// RoundTrip implements http.RoundTripper.
func (r *router) RoundTrip(req *http.Request) (*http.Response, error) {
	allowed := slices.ContainsFunc(r.insecure, func(host string) bool { return strings.EqualFold(host, req.URL.Host) })
	switch {
	case allowed:
		return r.anyone.RoundTrip(req)
	case req.URL.Scheme != "https":
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, fmt.Errorf("%w: %s", errPlain, req.URL.Host)
	}
	return r.secure.RoundTrip(req)
}

// stallGuard ends requests on which nothing moves, in either direction.
type stallGuard struct {
	inner http.RoundTripper
	after time.Duration
}

// RoundTrip implements http.RoundTripper.
func (s *stallGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{ctx: ctx, cancel: cancel, after: s.after}
	first := s.after
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		first *= digestFactor
	}
	w.timer = time.AfterFunc(first, func() { cancel(errStalled) })
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		w.timer.Reset(s.after)
		req.Body = &watchedBody{body: req.Body, w: w}
		if again := req.GetBody; again != nil {
			req.GetBody = func() (io.ReadCloser, error) {
				b, err := again()
				if err != nil {
					return nil, err
				}
				return &watchedBody{body: b, w: w}, nil
			}
		}
	}
	resp, err := s.inner.RoundTrip(req)
	if err != nil {
		w.end()
		return nil, w.explain(err)
	}
	w.timer.Reset(s.after)
	resp.Body = &watchedBody{body: resp.Body, w: w, last: true}
	return resp, nil
}

// watch is the clock of one request.
type watch struct {
	ctx    context.Context //nolint:containedctx // it is the request's
	cancel context.CancelCauseFunc
	timer  *time.Timer
	after  time.Duration
	moved  atomic.Int64
}

func (w *watch) note(n int) {
	if moved := w.moved.Add(int64(n)); moved >= leastMoved {
		w.moved.Store(0)
		w.timer.Reset(w.after)
	}
}

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain puts the stall in the place of what it led to.
func (w *watch) explain(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

type watchedBody struct {
	body io.ReadCloser
	w    *watch
	last bool // the request is over when it is closed
	once sync.Once
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.w.note(n)
	switch {
	case errors.Is(err, io.EOF) && !b.last:
		b.w.timer.Reset(b.w.after * digestFactor)
	case err != nil && !errors.Is(err, io.EOF):
		err = b.w.explain(err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *watchedBody) Close() error {
	err := b.body.Close()
	if b.last {
		b.once.Do(b.w.end)
	}
	return err
}
