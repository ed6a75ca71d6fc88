package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// TestHostile: a registry that lies, or stops, gets a clear error, and nothing
// of its image is in the store.
func TestHostile(t *testing.T) {
	forBlob := func(f func(w http.ResponseWriter, r *http.Request, b []byte)) func(*testing.T, *sample, *server) {
		return func(_ *testing.T, sam *sample, srv *server) {
			srv.spoil = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, string(sam.big().Digest)) {
					return false
				}
				f(w, r, sam.blobs[string(sam.big().Digest)])
				return true
			}
		}
	}
	forManifest := func(f func(w http.ResponseWriter, b []byte)) func(*testing.T, *sample, *server) {
		return func(_ *testing.T, _ *sample, srv *server) {
			srv.spoil = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/manifests/1") {
					return false
				}
				w.Header().Set("Content-Type", image.TypeManifest)
				f(w, srv.manifests["1"].content)
				return true
			}
		}
	}
	put := func(change func(t *testing.T, sam *sample) (any, string)) func(*testing.T, *sample, *server) {
		return func(t *testing.T, sam *sample, srv *server) {
			v, mediaType := change(t, sam)
			srv.put("1", toJSON(t, v), mediaType)
		}
	}
	for name, tt := range map[string]struct {
		spoil func(*testing.T, *sample, *server)
		want  string // BIG is the last layer's digest, SIZE its length, HOST the registry
	}{
		"wrong bytes": {forBlob(func(w http.ResponseWriter, r *http.Request, b []byte) {
			sendBlob(w, r, bytes.Repeat([]byte{1}, len(b)))
		}), "HOST: layer 3 of 3: blob BIG: what came has the digest sha256:*"},
		"a length that is not the manifest's": {forBlob(func(w http.ResponseWriter, r *http.Request, b []byte) {
			sendBlob(w, r, b[:1000])
		}), "HOST: layer 3 of 3: blob BIG: the registry sends 1000 bytes where the manifest says SIZE"},
		"more than there should be": {forBlob(func(w http.ResponseWriter, _ *http.Request, b []byte) {
			w.(http.Flusher).Flush() // without a length
			_, _ = w.Write(append(bytes.Clone(b), 0))
		}), "HOST: layer 3 of 3: blob BIG: the registry sends more than the SIZE bytes that the manifest says"},
		"less than there should be, always": {forBlob(func(w http.ResponseWriter, r *http.Request, b []byte) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(b[:1000])
		}), "HOST: layer 3 of 3: blob BIG: the connection ended after 1000 of SIZE bytes, after 5 tries"},
		"an endless coding": {forBlob(func(w http.ResponseWriter, _ *http.Request, b []byte) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gz(t, b))
		}), `HOST: layer 3 of 3: the registry sent it in the coding "gzip", which was not asked for, after 5 tries`},
		"a stall": {forBlob(func(w http.ResponseWriter, r *http.Request, b []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			_, _ = w.Write(b[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), "HOST: layer 3 of 3: blob BIG: after 1000 of SIZE bytes: nothing has moved on the connection for too long, after 5 tries"},
		"a stall before the first byte": {func(_ *testing.T, _ *sample, srv *server) {
			srv.spoil = func(_ http.ResponseWriter, r *http.Request) bool {
				<-r.Context().Done()
				return true
			}
		}, "HOST: nothing has moved on the connection for too long"},
		"a range of its own": {forBlob(func(w http.ResponseWriter, r *http.Request, b []byte) {
			if r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", fmt.Sprint(len(b)))
				_, _ = w.Write(b[:1000])
				return
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 500-%d/%d", len(b)-1, len(b)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(b[500:])
		}), `HOST: layer 3 of 3: blob BIG: the registry sends the range "bytes 500-*`},
		"a redirect to plain HTTP": {forBlob(func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, "http://127.0.0.1:1/blob?signature=secret", http.StatusFound)
		}), "HOST: redirected to 127.0.0.1:1: plain HTTP is not allowed\n  fix: allow it: --insecure, or insecure = true for that host in registries.toml"},
		"redirects without end": {forBlob(func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		}), "HOST: redirected more than 5 times"},
		"a blob that is not there": {func(_ *testing.T, sam *sample, _ *server) {
			delete(sam.blobs, string(sam.big().Digest))
		}, "no such image at HOST: HOST/r/app:1 (404 NAME_UNKNOWN: no such thing)"},
		"an error without end": {forBlob(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.WriteHeader(http.StatusBadGateway)
		}), "HOST answers: 502 Bad Gateway"},

		"a manifest that says its length": {forManifest(func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<40))
			w.WriteHeader(http.StatusOK)
		}), "HOST: the manifest has 1099511627776 bytes; more than 4194304 are not read"},
		"a manifest that does not": {forManifest(func(w http.ResponseWriter, _ []byte) {
			for range 5 {
				_, _ = w.Write(bytes.Repeat([]byte(" "), 1<<20))
				w.(http.Flusher).Flush()
			}
		}), "HOST: the manifest has more than 4194304 bytes, which are not read"},
		"no manifest at all": {forManifest(func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>log in here</html>")
		}), `HOST: reading a manifest: it is of type "text/html", which brig does not know`},
		"a broken manifest": {
			forManifest(func(w http.ResponseWriter, b []byte) { _, _ = w.Write(b[:10]) }),
			"HOST: reading a manifest: unexpected end of JSON input",
		},
		"the first version": {put(func(*testing.T, *sample) (any, string) {
			return map[string]any{"schemaVersion": 1, "fsLayers": []string{}}, "application/vnd.docker.distribution.manifest.v1+prettyjws"
		}), `HOST: reading a manifest: it is of type "application/vnd.docker.distribution.manifest.v1+prettyjws", which brig does not know`},
		"two types": {put(func(_ *testing.T, sam *sample) (any, string) {
			return &sam.manifest, image.TypeIndex
		}), `HOST: reading a manifest: it was sent as "` + image.TypeIndex + `" and says that it is "` + image.TypeManifest + `"`},
		"an image that is a list": {put(func(_ *testing.T, sam *sample) (any, string) {
			return map[string]any{"schemaVersion": 2, "config": sam.manifest.Config, "layers": sam.manifest.Layers, "manifests": []string{}}, image.TypeManifest
		}), "HOST: reading a manifest: it could be read as an image and as a list of images"},
		"an artefact": {put(func(_ *testing.T, sam *sample) (any, string) {
			sam.manifest.Config.MediaType = "application/vnd.example.chart"
			return &sam.manifest, image.TypeManifest
		}), `HOST: reading a manifest: it is not an image's: its config is of type "application/vnd.example.chart"`},
		"a layer of another type": {put(func(_ *testing.T, sam *sample) (any, string) {
			sam.manifest.Layers[1].MediaType = "application/vnd.example.tar+xz"
			return &sam.manifest, image.TypeManifest
		}), `HOST: reading a manifest: layer 2 is of type "application/vnd.example.tar+xz", which brig does not know`},
		"ten thousand layers": {put(func(_ *testing.T, sam *sample) (any, string) {
			for len(sam.manifest.Layers) < 10000 {
				sam.manifest.Layers = append(sam.manifest.Layers, sam.manifest.Layers[0])
			}
			return &sam.manifest, image.TypeManifest
		}), "HOST: the image has 10000 layers: the kernel's overlay stacks at most 500\n  fix: squash the image where it was built"},
		"a layer of an exabyte": {put(func(_ *testing.T, sam *sample) (any, string) {
			sam.manifest.Layers[1].Size = 1 << 60
			return &sam.manifest, image.TypeManifest
		}), "layer 2 of 3 has 1152921504606846976 bytes, compressed, and at most 42551738368 are allowed\n  fix: allow more with --max-size"},
		"layers that are too much together": {put(func(_ *testing.T, sam *sample) (any, string) {
			for range 5 {
				sam.manifest.Layers = append(sam.manifest.Layers, image.Descriptor{MediaType: image.TypeLayer, Digest: image.DigestOf(nil), Size: 39 << 30})
			}
			return &sam.manifest, image.TypeManifest
		}), "the layers have more than 170206953472 bytes together\n  fix: allow more with --max-size"},
		"another config": {put(func(_ *testing.T, sam *sample) (any, string) {
			sam.manifest.Layers = sam.manifest.Layers[:2]
			return &sam.manifest, image.TypeManifest
		}), "the image is inconsistent: 2 layers in its manifest, 3 in its config"},
		"a layer that is not the config's": {put(func(t *testing.T, sam *sample) (any, string) {
			sam.manifest.Layers[1] = sam.blob(tarOf(t, 77, 10), image.TypeLayer)
			return &sam.manifest, image.TypeManifest
		}), "HOST: layer 2 of 3: the uncompressed layer has the digest *"},
		"a digest that leads out": {put(func(_ *testing.T, sam *sample) (any, string) {
			return map[string]any{"schemaVersion": 2, "config": map[string]any{"mediaType": image.TypeConfig, "digest": "sha256:../../../../etc/passwd", "size": 1}}, image.TypeManifest
		}), `HOST: reading a manifest: "sha256:../../../../etc/passwd" is not a digest: sha256: and 64 digits of 0-9a-f`},
		"another platform's": {put(func(_ *testing.T, sam *sample) (any, string) {
			x := &image.Index{SchemaVersion: 2, MediaType: image.TypeIndex}
			for _, p := range []image.Platform{{OS: "linux", Architecture: "s390x"}, {OS: "unknown", Architecture: "unknown"}, {OS: "linux", Architecture: "arm", Variant: "v7"}} {
				x.Manifests = append(x.Manifests, image.Descriptor{MediaType: image.TypeManifest, Digest: image.DigestOf(nil), Platform: &p})
			}
			return x, image.TypeIndex
		}), "HOST: there is no image for linux/" + runtime.GOARCH + ", only for linux/arm/v7, linux/s390x"},
		"a list that leads to another manifest": {func(t *testing.T, sam *sample, srv *server) {
			claimed := image.Descriptor{MediaType: image.TypeManifest, Digest: image.DigestOf([]byte("other")), Platform: &sam.config.Platform}
			srv.manifests[string(claimed.Digest)] = srv.manifests["1"]
			srv.put("1", toJSON(t, &image.Index{SchemaVersion: 2, MediaType: image.TypeIndex, Manifests: []image.Descriptor{claimed}}), image.TypeIndex)
		}, "HOST: the manifest has the digest *"},
		"a list of lists": {func(t *testing.T, sam *sample, srv *server) {
			inner := srv.put("inner", toJSON(t, &image.Index{SchemaVersion: 2, MediaType: image.TypeIndex, Manifests: []image.Descriptor{}}), image.TypeIndex)
			inner.MediaType, inner.Platform = image.TypeManifest, &sam.config.Platform
			srv.put("1", toJSON(t, &image.Index{SchemaVersion: 2, MediaType: image.TypeIndex, Manifests: []image.Descriptor{inner}}), image.TypeIndex)
		}, "HOST: a list names *"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sam := newSample(t)
			srv := serve(t, sam)
			s := newStore(t)
			tt.spoil(t, sam, srv)
			c := srv.client()
			c.pause = time.Millisecond
			if strings.Contains(name, "stall") {
				c.Stall = time.Second
			}
			_, err := c.Pull(t.Context(), s, srv.name(t, ":1"), options())
			of := strings.NewReplacer("BIG", string(sam.big().Digest), "SIZE", fmt.Sprint(sam.big().Size), "HOST", srv.host())
			want, begins := strings.CutSuffix(of.Replace(tt.want), "*")
			if got := text(err); got != want && (!begins || !strings.HasPrefix(got, want)) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			list, err := s.List()
			if err != nil || len(list) > 0 {
				t.Errorf("the store has %v, %v", list, err)
			}
			whole(t, s)
		})
	}
}

// TestCredentialsStay: what leads elsewhere takes no credentials along, and no
// answer of the registry makes brig send them to another host.
func TestCredentialsStay(t *testing.T) {
	sam := newSample(t)
	srv := serve(t, sam)
	var leaked []string
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range []string{"Authorization", "Cookie", "Www-Authenticate"} {
			if v := r.Header.Get(h); v != "" {
				leaked = append(leaked, h+": "+v)
			}
		}
		sendBlob(w, r, sam.blobs["sha256:"+strings.TrimPrefix(r.URL.Path, "/cdn/")])
	}))
	defer other.Close()
	authorized := 0
	srv.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if user, pass, ok := r.BasicAuth(); !ok || user != "u" || pass != "p" {
			w.Header().Set("Www-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		authorized++
		if _, digest, ok := strings.Cut(r.URL.Path, "/blobs/sha256:"); ok {
			http.Redirect(w, r, other.URL+"/cdn/"+digest, http.StatusTemporaryRedirect)
			return true
		}
		return false
	}
	c := srv.client()
	c.Roots.AddCert(other.Certificate())
	n := srv.name(t, ":1")
	if _, err := c.Pull(t.Context(), newStore(t), n, options()); text(err) != fmt.Sprintf("%s refuses access to r/app (401 Unauthorized)\n  fix: log in with docker login or podman login, whose credentials brig uses; a repository that does not exist may look the same", n.Domain) {
		t.Errorf("without credentials: %v", err)
	}
	c.Credentials = credentialsFile(t, fmt.Sprintf(`{"auths":{%q:{"auth":"dTpw"}}}`, n.Domain))
	if _, err := c.Pull(t.Context(), newStore(t), n, options()); err != nil {
		t.Fatal(err)
	}
	if len(leaked) > 0 || authorized == 0 {
		t.Errorf("the other host was sent %v", leaked)
	}
}

// TestPlainOnlyWhenAllowed: not even this host is spoken to without TLS, or with
// a certificate of nobody, unless somebody says so.
func TestPlainOnlyWhenAllowed(t *testing.T) {
	sam := newSample(t)
	tls := serve(t, sam)
	plain := httptest.NewServer(tls)
	defer plain.Close()
	host := strings.TrimPrefix(plain.URL, "http://")
	fix := "\n  fix: give the authority of its certificate with --tls-ca; a registry without TLS, or with a certificate of no authority, has to be allowed: --insecure, or insecure = true in registries.toml"
	for _, tt := range []struct{ host, want string }{
		{host, host + ": tls: first record does not look like a TLS handshake" + fix},
		{tls.host(), tls.host() + ": tls: failed to verify certificate: x509: certificate signed by unknown authority" + fix},
	} {
		n, err := image.ParseName(tt.host + "/r/app:1")
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*Client{
			"":                       {Config: &Config{}},
			"another one is allowed": {Config: &Config{Registries: map[string]Registry{"other": {Insecure: true}, "127.0.0.1": {Insecure: true}}}},
			"by flag":                {Config: &Config{}, Insecure: true},
			"by file":                {Config: &Config{Registries: map[string]Registry{tt.host: {Insecure: true}}}},
		} {
			c.Credentials = &Credentials{}
			_, err := c.Pull(t.Context(), newStore(t), n, options())
			want := tt.want
			if strings.HasPrefix(name, "by ") {
				want = ""
			}
			if text(err) != want {
				t.Errorf("%s, %s: %v", tt.host, name, err)
			}
		}
	}
	if tls.count("GET /v2/") == 0 {
		t.Error("nothing was asked for")
	}
}

func TestCheckRedirect(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		insecure bool
		want     string
	}{
		{"registry.example", "https://cdn.example/x", false, ""},
		{"registry.example", "https://169.254.169.254/x", false, "redirected to 169.254.169.254, which is an address of this network"},
		{"registry.example:5000", "https://[::1]:80/x", false, "redirected to [::1]:80, which is an address of this network"},
		{"registry.example", "https://[::ffff:10.0.0.1]/x", false, "redirected to [::ffff:10.0.0.1], which is an address of this network"},
		{"registry.example", "https://localhost/x", false, "redirected to localhost, which is an address of this network"},
		{"10.0.0.1:5000", "https://10.0.0.2/x", false, ""},
		{"registry.example", "http://cdn.example/x", false, "redirected to cdn.example: plain HTTP is not allowed"},
		{"registry.example", "http://registry.example/x", true, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkRedirect(tt.from, tt.insecure)(req, []*http.Request{req}); text(err) != tt.want {
			t.Errorf("%s to %s: %v", tt.from, tt.to, err)
		}
	}
}
