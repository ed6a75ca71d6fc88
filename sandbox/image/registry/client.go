package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// defaultJobs is how many blobs move at once, as docker has it.
const defaultJobs = 3

// maxRedirects is how many times one request may be sent elsewhere.
const maxRedirects = 5

// Client talks to registries. Its fields are set before the first call.
type Client struct {
	Config      *Config
	Credentials authn.Keychain
	// Insecure allows, for the registry of the image's name, what its entry in
	// Config would.
	Insecure bool
	// Roots verify certificates; nil for the system's, or those of SSL_CERT_FILE
	// and SSL_CERT_DIR.
	Roots *x509.CertPool
	// Stall is how long nothing may move on a connection; zero is DefaultStall.
	Stall time.Duration
	// Platform is chosen from lists of images; the zero one is this machine's.
	Platform image.Platform
	// Progress is told how far the layers are, from several goroutines; Note is
	// told what a user may want to know. Either may be nil.
	Progress func(Progress)
	Note     func(string)

	pause time.Duration // before a second try, where a test shortens it
}

// State is where a layer is on its way.
type State int

// The states, in their order.
const (
	Moving   State = iota // bytes go to or come from the registry
	Moved                 // all of them did
	Present               // nothing had to move: it is there already
	Unpacked              // the last of a pull
)

// Progress tells of one layer.
type Progress struct {
	Number, Layers int // from 1
	Digest         image.Digest
	Done, Total    int64 // bytes, compressed
	State          State
}

func (c *Client) report(p Progress) {
	if c.Progress != nil {
		c.Progress(p)
	}
}

func (c *Client) note(format string, a ...any) {
	if c.Note != nil {
		c.Note(fmt.Sprintf(format, a...))
	}
}

// session is a connection to one repository of one registry.
type session struct {
	client *Client
	at     image.Name
	repo   name.Repository
	http   *http.Client
	known  bool // there are credentials
}

// registryHost is the host behind the first part of an image's name.
func registryHost(domain string) string {
	if domain == "docker.io" {
		return name.DefaultRegistry
	}
	return domain
}

// target is a repository as the library has it, with what requests to it go
// through.
func (c *Client) target(n image.Name, own bool) (name.Repository, http.RoundTripper, bool, error) {
	insecure := c.Config.insecureHosts()
	if own && c.Insecure {
		insecure = append(insecure, n.Domain)
	}
	allowed := slices.Contains(insecure, n.Domain)
	for i := range insecure {
		insecure[i] = registryHost(insecure[i])
	}
	var opts []name.Option
	if allowed {
		opts = append(opts, name.Insecure)
	}
	reg, err := name.NewRegistry(registryHost(n.Domain), opts...)
	if err != nil {
		return name.Repository{}, nil, false, err
	}
	stall := c.Stall
	if stall == 0 {
		stall = DefaultStall
	}
	return reg.Repo(n.Path), newTransport(c.Roots, insecure, stall), allowed, nil
}

// connect finds out how the registry wants to be spoken to, and obtains a token.
// own tells that it is the image's own registry, not a mirror.
func (c *Client) connect(ctx context.Context, n image.Name, own bool) (*session, error) {
	repo, tr, allowed, err := c.target(n, own)
	if err != nil {
		return nil, err
	}
	auth, err := authn.Resolve(ctx, c.Credentials, repo)
	if err != nil {
		return nil, err
	}
	first := &firstError{inner: tr}
	through, err := transport.NewWithContext(ctx, repo.Registry, auth, first, []string{repo.Scope(transport.PullScope)})
	if err != nil {
		// The library also tries plain HTTP with some hosts, which is refused
		// here: what TLS said is the reason.
		if errors.Is(err, errPlain) && first.err != nil {
			err = first.err
		}
		return nil, c.explain(ctx, err, n, auth != authn.Anonymous)
	}
	follow := checkRedirect(repo.RegistryStr(), allowed)
	return &session{
		client: c, at: n, repo: repo, known: auth != authn.Anonymous, http: &http.Client{Transport: through, CheckRedirect: follow},
	}, nil
}

// firstError remembers what went wrong first, refusals of plain HTTP aside.
type firstError struct {
	inner http.RoundTripper
	mu    sync.Mutex
	err   error
}

// RoundTrip implements http.RoundTripper.
func (f *firstError) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := f.inner.RoundTrip(req)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.err == nil && !errors.Is(err, errPlain) && !errors.Is(err, context.Canceled) {
		f.err = err
	}
	return resp, err
}

// checkRedirect lets a registry send requests elsewhere, though not into the
// caller's own network when it is not there itself. Credentials stay: they are
// added below, for the registry's own host alone.
func checkRedirect(host string, insecure bool) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		switch {
		case len(via) > maxRedirects:
			return fmt.Errorf("redirected more than %d times", maxRedirects)
		case req.URL.Scheme != "https" && !insecure:
			return fmt.Errorf("redirected to %s: %w", req.URL.Host, errPlain)
		case req.URL.Hostname() != hostname(host) && isPrivate(req.URL.Hostname()) && !isPrivate(hostname(host)):
			return fmt.Errorf("redirected to %s, which is an address of this network", req.URL.Host)
		}
		return nil
	}
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// isPrivate tells whether a host is, by its looks, one that only this network
// reaches.
func isPrivate(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	a = a.Unmap()
	return err == nil && (a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified())
}

// get asks for something of the repository.
func (s *session) get(ctx context.Context, path string, header http.Header, codes ...int) (*http.Response, error) {
	// The library's transport chooses the scheme that the registry has.
	url := "https://" + s.repo.RegistryStr() + "/v2/" + s.repo.RepositoryStr() + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, codes...); err != nil {
		resp.Body.Close()
		return nil, err
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		resp.Body.Close()
		return nil, fmt.Errorf("the registry sent it in the coding %q, which was not asked for", clip(coding, 60))
	}
	return resp, nil
}

// document is a manifest or a list of them.
type document struct {
	descriptor image.Descriptor
	content    []byte
}

// accepted are the types of documents that brig reads.
var accepted = []string{
	image.TypeManifest, image.TypeIndex,
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
}

// document fetches a manifest by a tag or a digest. With want its digest and its
// length are checked.
func (s *session) document(ctx context.Context, ref string, want *image.Descriptor) (*document, error) {
	resp, err := s.get(ctx, "/manifests/"+ref, http.Header{"Accept": accepted}, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.ContentLength > image.MaxDocument {
		return nil, fmt.Errorf("the manifest has %d bytes; more than %d are not read", resp.ContentLength, image.MaxDocument)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, image.MaxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(b) > image.MaxDocument {
		return nil, fmt.Errorf("the manifest has more than %d bytes, which are not read", image.MaxDocument)
	}
	d := &document{content: b, descriptor: image.Descriptor{Digest: image.DigestOf(b), Size: int64(len(b))}}
	switch {
	case want == nil:
	case want.Digest != d.descriptor.Digest:
		return nil, fmt.Errorf("the manifest has the digest %s, %s was asked for", d.descriptor.Digest, want.Digest)
	case want.Size > 0 && want.Size != d.descriptor.Size:
		return nil, fmt.Errorf("the manifest has %d bytes, its list says %d", d.descriptor.Size, want.Size)
	}
	d.descriptor.MediaType, err = image.DocumentType(b, resp.Header.Get("Content-Type"))
	return d, err
}
