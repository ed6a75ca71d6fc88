package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/sandbox/engine"
	"github.com/brig-sandbox/brig/sandbox/image"
)

var imageColumns = []column{
	{"Repository", "REPOSITORY"},
	{"Tag", "TAG"},
	{"Digest", "DIGEST"},
	{"ID", "IMAGE ID"},
	{"CreatedSince", "CREATED"},
	{"CreatedAt", "CREATED AT"},
	{"Size", "SIZE"},
}

const none = "<none>"

func runImages(cmd *cobra.Command, args []string) error {
	s, err := openImages()
	if err != nil {
		return err
	}
	entries, err := s.List()
	if err != nil {
		return err
	}
	quiet, _ := cmd.Flags().GetBool("quiet")
	full, _ := cmd.Flags().GetBool("no-trunc")
	digests, _ := cmd.Flags().GetBool("digests")
	format, _ := cmd.Flags().GetString("format")
	wanted := func(image.Name) bool { return true }
	if len(args) == 1 {
		n, err := image.ParseName(args[0])
		if err != nil {
			return err
		}
		tagged := strings.Contains(args[0][strings.LastIndexByte(args[0], '/')+1:], ":")
		wanted = func(have image.Name) bool {
			return have.Domain == n.Domain && have.Path == n.Path && (!tagged || have.Tag == n.Tag)
		}
	}
	var rows []row
	seen := map[string]bool{}
	for _, e := range entries {
		m, c, err := s.Documents(e.Manifest)
		if err != nil {
			return err
		}
		r := row{
			"Digest": string(e.Manifest.Digest), "ID": m.Config.Digest.Short(), "CreatedSince": ago(c.Created, time.Now()),
			"CreatedAt": "", "Size": size(unpackedSize(s, c)), "Repository": none, "Tag": none,
		}
		if c.Created != nil {
			r["CreatedAt"] = c.Created.UTC().Format("2006-01-02 15:04:05 -0700 MST")
		}
		if full {
			r["ID"] = string(m.Config.Digest)
		}
		if len(e.Names) == 0 && len(args) == 0 {
			rows = append(rows, r)
		}
		for _, n := range e.Names {
			if !wanted(n) {
				continue
			}
			named := row{}
			for k, v := range r {
				named[k] = v
			}
			named["Repository"], named["Tag"] = n.Repository(), cmp.Or(n.Tag, none)
			rows = append(rows, named)
		}
	}
	if quiet {
		for _, r := range rows {
			if !seen[r["ID"]] {
				fmt.Fprintln(cmd.OutOrStdout(), r["ID"])
			}
			seen[r["ID"]] = true
		}
		return nil
	}
	shown := []string{"Repository", "Tag", "ID", "CreatedSince", "Size"}
	if digests {
		shown = []string{"Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"}
	}
	return printRows(cmd.OutOrStdout(), format, imageColumns, shown, rows)
}

// unpackedSize is what the files of an image take, or nothing known.
func unpackedSize(s *image.Store, c *image.ConfigFile) int64 {
	var sum int64
	for _, l := range s.Unpacked(c) {
		sum += l.Bytes
	}
	return sum
}

func runTag(_ *cobra.Command, args []string) error {
	s, err := openImages()
	if err != nil {
		return err
	}
	n, err := image.ParseName(args[1])
	if err != nil {
		return err
	}
	return s.Tag(args[0], n)
}

var historyColumns = []column{
	{"ID", "IMAGE"}, {"CreatedSince", "CREATED"}, {"CreatedAt", "CREATED AT"}, {"CreatedBy", "CREATED BY"}, {"Size", "SIZE"}, {"Comment", "COMMENT"},
}

func runHistory(cmd *cobra.Command, args []string) error {
	s, err := openImages()
	if err != nil {
		return err
	}
	e, err := s.Find(args[0])
	if err != nil {
		return err
	}
	m, c, err := s.Documents(e.Manifest)
	if err != nil {
		return err
	}
	full, _ := cmd.Flags().GetBool("no-trunc")
	quiet, _ := cmd.Flags().GetBool("quiet")
	format, _ := cmd.Flags().GetString("format")
	layers := s.Unpacked(c)
	var rows []row
	at := 0
	for _, h := range c.History {
		r := row{
			"ID": "<missing>", "CreatedSince": ago(h.Created, time.Now()), "CreatedAt": "", "Size": "0B",
			"CreatedBy": safe(h.CreatedBy), "Comment": safe(h.Comment),
		}
		if h.Created != nil {
			r["CreatedAt"] = h.Created.UTC().Format(time.RFC3339)
		}
		if runes := []rune(r["CreatedBy"]); !full && len(runes) > 45 {
			r["CreatedBy"] = string(runes[:44]) + "…"
		}
		if !h.EmptyLayer && at < len(layers) {
			r["Size"] = size(layers[at].Bytes)
			at++
		}
		rows = append([]row{r}, rows...)
	}
	if len(rows) > 0 {
		rows[0]["ID"] = m.Config.Digest.Short()
		if full {
			rows[0]["ID"] = string(m.Config.Digest)
		}
	}
	if quiet {
		for _, r := range rows {
			fmt.Fprintln(cmd.OutOrStdout(), r["ID"])
		}
		return nil
	}
	return printRows(cmd.OutOrStdout(), format, historyColumns, []string{"ID", "CreatedSince", "CreatedBy", "Size", "Comment"}, rows)
}

// inspected is an image as docker inspect shows one.
type inspected struct {
	ID            string `json:"Id"`
	RepoTags      []string
	RepoDigests   []string
	Created       *time.Time
	Author        string
	Architecture  string
	Variant       string `json:",omitempty"`
	Os            string
	Size          int64
	Config        image.Config
	RootFS        inspectedRootFS
	Manifest      image.Descriptor
	History       []image.History
	UnpackedNotes []string `json:",omitempty"`
}

type inspectedRootFS struct {
	Type   string
	Layers []image.Digest
}

func runInspect(cmd *cobra.Command, args []string) error {
	s, containers, err := openStores()
	if err != nil {
		return err
	}
	format, _ := cmd.Flags().GetString("format")
	kind, _ := cmd.Flags().GetString("type")
	if !slices.Contains([]string{"", "image", "container"}, kind) {
		return fmt.Errorf("--type %q\n  fix: use image or container", kind)
	}
	list := make([]any, 0, len(args))
	for _, ref := range args {
		var e *image.Entry
		err := image.ErrNotFound
		if kind != "container" {
			e, err = s.Find(ref)
		}
		if err != nil && kind != "image" { // also what is no name of an image
			c, cerr := containers.Find(ref)
			switch {
			case cerr == nil:
				list = append(list, inspectContainer(c))
				continue
			case kind == "container" || !errors.Is(cerr, engine.ErrNotFound):
				return cerr
			}
			err = fmt.Errorf("no such container, and %w", err)
		}
		if err != nil {
			return err
		}
		m, c, err := s.Documents(e.Manifest)
		if err != nil {
			return err
		}
		i := &inspected{
			ID: string(m.Config.Digest), RepoTags: []string{}, RepoDigests: []string{}, Created: c.Created, Author: c.Author,
			Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, Size: unpackedSize(s, c), Config: c.Config,
			RootFS: inspectedRootFS{c.RootFS.Type, c.RootFS.DiffIDs}, Manifest: e.Manifest, History: c.History,
		}
		for _, n := range e.Names {
			i.RepoTags = append(i.RepoTags, n.Familiar())
			i.RepoDigests = append(i.RepoDigests, n.Repository()+"@"+string(e.Manifest.Digest))
		}
		for _, l := range s.Unpacked(c) {
			i.UnpackedNotes = append(i.UnpackedNotes, l.Notes...)
		}
		list = append(list, i)
	}
	if format == "json" {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "    ")
		enc.SetEscapeHTML(false)
		return enc.Encode(list)
	}
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	for i := range list {
		if err := t.Execute(cmd.OutOrStdout(), list[i]); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		fmt.Fprintln(cmd.OutOrStdout())
	}
	return nil
}
