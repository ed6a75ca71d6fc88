package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// MaxDocument is the longest index, manifest or config that is read, in bytes.
// Registries refuse manifests of more than 4 MiB.
const MaxDocument = 4 << 20

// MaxLayers is how many layers an image may have: OVL_MAX_STACK of the
// kernel's fs/overlayfs.
const MaxLayers = 500

// Media types (image-spec, media-types.md) and Docker's names for them.
const (
	TypeIndex          = "application/vnd.oci.image.index.v1+json"
	TypeManifest       = "application/vnd.oci.image.manifest.v1+json"
	TypeConfig         = "application/vnd.oci.image.config.v1+json"
	TypeLayer          = "application/vnd.oci.image.layer.v1.tar"
	TypeLayerGzip      = TypeLayer + "+gzip"
	TypeLayerZstd      = TypeLayer + "+zstd"
	typeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	typeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
	typeNoDistribution = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	typeDockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar"
)

// Annotations of an entry of index.json that hold a name: containerd's and
// Docker's the whole one, OCI's often only a tag.
const (
	AnnotationName = "io.containerd.image.name"
	AnnotationTag  = "org.opencontainers.image.ref.name"
)

// IsIndex tells whether a media type is that of a list of manifests.
func IsIndex(mediaType string) bool { return mediaType == TypeIndex || mediaType == typeDockerList }

// IsManifest tells whether a media type is that of an image's manifest.
func IsManifest(mediaType string) bool {
	return mediaType == TypeManifest || mediaType == typeDockerManifest
}

// isLayer tells whether a media type is one of the layers that brig unpacks.
func isLayer(mediaType string) bool {
	for _, base := range []string{TypeLayer, typeDockerLayer, typeNoDistribution, typeDockerForeign} {
		for _, suffix := range []string{"", "+gzip", "+zstd", ".gzip", ".zstd"} {
			if mediaType == base+suffix {
				return true
			}
		}
	}
	return false
}

// OCILayerType is OCI's name for the type of a layer, where it is one that Docker
// has another name for: manifests of OCI name no others.
func OCILayerType(mediaType string) string {
	switch suffix, docker := strings.CutPrefix(mediaType, typeDockerLayer); {
	case !docker:
		return mediaType
	case suffix == ".gzip" || suffix == "+gzip":
		return TypeLayerGzip
	case suffix == ".zstd" || suffix == "+zstd":
		return TypeLayerZstd
	}
	return TypeLayer
}

// Platform says what an image was made for.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// String is "os/architecture[/variant]".
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Descriptor names a blob. Size is in bytes.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      Digest            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *Platform         `json:"platform,omitempty"`
}

// Index is an OCI image index, or Docker's manifest list.
type Index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Manifest is an OCI image manifest, or Docker's version 2.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Config is how a container of the image is run (image-spec, config.md, and
// Docker's additions). Empty fields are the image saying nothing.
type Config struct {
	User         string              `json:"User,omitempty"` // name or id, [:group]
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"` // NAME=value
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"` // "SIGTERM" or a number
	Shell        []string            `json:"Shell,omitempty"`
}

// History tells of one step of an image's making. Steps that changed no file
// have EmptyLayer.
type History struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}

// RootFS lists the layers, bottom first, by the digests of their uncompressed
// archives.
type RootFS struct {
	Type    string   `json:"type"`
	DiffIDs []Digest `json:"diff_ids"`
}

// ConfigFile is the image's config blob. Its digest is the image's id.
type ConfigFile struct {
	Created *time.Time `json:"created,omitempty"`
	Author  string     `json:"author,omitempty"`
	Platform
	Config  Config    `json:"config"`
	RootFS  RootFS    `json:"rootfs"`
	History []History `json:"history,omitempty"`
}

// ParseIndex reads an index. Entries with other algorithms than sha256 are an
// error.
func ParseIndex(b []byte) (*Index, error) {
	var x Index
	if err := parse(b, &x); err != nil {
		return nil, fmt.Errorf("reading an image index: %w", err)
	}
	return &x, nil
}

// ParseManifest reads a manifest and checks what brig relies on: known media
// types, no more layers than the kernel stacks, no negative sizes.
func ParseManifest(b []byte) (*Manifest, error) {
	var m Manifest
	if err := parse(b, &m); err != nil {
		return nil, fmt.Errorf("reading a manifest: %w", err)
	}
	if m.Config.MediaType != TypeConfig && m.Config.MediaType != typeDockerConfig {
		return nil, fmt.Errorf("reading a manifest: it is not an image's: its config is of type %q", clip(m.Config.MediaType))
	}
	if len(m.Layers) > MaxLayers {
		return nil, tooManyLayers(len(m.Layers))
	}
	if m.Config.Digest == "" || m.Config.Size < 0 || m.Config.Size > MaxDocument {
		return nil, fmt.Errorf("reading a manifest: its config has no digest, or a size of %d bytes", m.Config.Size)
	}
	for i, l := range m.Layers {
		if !isLayer(l.MediaType) {
			return nil, fmt.Errorf("reading a manifest: layer %d is of type %q, which brig does not know", i+1, clip(l.MediaType))
		}
		if l.Digest == "" || l.Size < 0 {
			return nil, fmt.Errorf("reading a manifest: layer %d has no digest, or a size of %d bytes", i+1, l.Size)
		}
	}
	return &m, nil
}

func tooManyLayers(n int) error {
	return fmt.Errorf("the image has %d layers: the kernel's overlay stacks at most %d\n  fix: squash the image where it was built", n, MaxLayers)
}

// ParseConfig reads a config.
func ParseConfig(b []byte) (*ConfigFile, error) {
	var c ConfigFile
	if err := parse(b, &c); err != nil {
		return nil, fmt.Errorf("reading an image's config: %w", err)
	}
	if len(c.RootFS.DiffIDs) > MaxLayers {
		return nil, tooManyLayers(len(c.RootFS.DiffIDs))
	}
	if slices.Contains(c.RootFS.DiffIDs, "") {
		return nil, errors.New("reading an image's config: an empty diff id")
	}
	return &c, nil
}

func parse(b []byte, into any) error {
	if len(b) > MaxDocument {
		return fmt.Errorf("it has more than %d bytes", MaxDocument)
	}
	return json.Unmarshal(b, into)
}

// ReadDocument reads a small file, and refuses one of more than MaxDocument
// bytes.
func ReadDocument(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxDocument+1))
	if err == nil && len(b) > MaxDocument {
		err = fmt.Errorf("%s has more than %d bytes", path, MaxDocument)
	}
	return b, err
}

// DocumentType is the type of a manifest or an index, of which the content and
// whoever sent it may both say something. One that could be read as either is
// refused, and so is one whose types contradict each other: two readers of the
// same digest must not see two images.
func DocumentType(b []byte, header string) (string, error) {
	var d struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
		Config    json.RawMessage `json:"config"`
		FSLayers  json.RawMessage `json:"fsLayers"`
	}
	header, _, _ = strings.Cut(header, ";")
	header = strings.TrimSpace(header)
	if err := parse(b, &d); err != nil {
		if header != "" && !IsIndex(header) && !IsManifest(header) {
			return "", fmt.Errorf("reading a manifest: it is of type %q, which brig does not know", clip(header))
		}
		return "", fmt.Errorf("reading a manifest: %w", err)
	}
	known := func(t string) bool { return IsIndex(t) || IsManifest(t) }
	mediaType := d.MediaType
	switch {
	case mediaType == "" && known(header):
		mediaType = header
	case mediaType == "" && d.Manifests != nil:
		mediaType = TypeIndex
	case mediaType == "" && d.Config != nil:
		mediaType = TypeManifest
	case mediaType == "":
		mediaType = header
	}
	switch {
	case !known(mediaType):
		return "", fmt.Errorf("reading a manifest: it is of type %q, which brig does not know", clip(mediaType))
	case known(header) && header != mediaType:
		return "", fmt.Errorf("reading a manifest: it was sent as %q and says that it is %q", header, mediaType)
	case d.FSLayers != nil,
		IsIndex(mediaType) && (d.Layers != nil || d.Config != nil),
		IsManifest(mediaType) && d.Manifests != nil:
		return "", errors.New("reading a manifest: it could be read as an image and as a list of images")
	}
	return mediaType, nil
}
