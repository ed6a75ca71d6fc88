package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/brig-sandbox/brig/sandbox"
)

// column is one value of a row: its name in templates and in JSON, and its head
// in a table.
type column struct{ name, head string }

// row holds an entry's values by the columns' names.
type row map[string]string

// printRows prints a list as docker does: as a table of the shown columns, as
// JSON lines, by a template, or as a table of a template's values.
func printRows(w io.Writer, format string, columns []column, shown []string, rows []row) error {
	heads := row{}
	for _, c := range columns {
		heads[c.name] = c.head
	}
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	case "", "table":
		format = "table {{." + strings.Join(shown, "}}\t{{.") + "}}"
	}
	format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
	body, table := strings.CutPrefix(format, "table ")
	t, err := parseTemplate(body)
	if err != nil {
		return err
	}
	out := w
	if table {
		tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
		defer tw.Flush()
		out = tw
		rows = append([]row{heads}, rows...)
	}
	for _, r := range rows {
		if err := t.Execute(out, r); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		if _, err := io.WriteString(out, "\n"); err != nil {
			return err
		}
	}
	return nil
}

// parseTemplate reads a Go template with docker's functions.
func parseTemplate(text string) (*template.Template, error) {
	t, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"join":  func(list []string, sep string) string { return strings.Join(list, sep) },
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"split": func(s, sep string) []string { return strings.Split(s, sep) },
		"println": func(v ...any) string {
			return fmt.Sprintln(v...)
		},
	}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--format: %w", err)
	}
	return t, nil
}

// size prints bytes as docker does, in decimal units.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%dB", n)
	}
	f := float64(n)
	unit := "B"
	for _, unit = range []string{"kB", "MB", "GB", "TB", "PB"} {
		if f /= 1000; f < 1000 {
			break
		}
	}
	return fmt.Sprintf("%.3g%s", f, unit)
}

// ago prints how long ago something was, roughly.
func ago(t *time.Time, now time.Time) string {
	if t == nil || t.IsZero() {
		return "N/A"
	}
	d := now.Sub(*t)
	for _, u := range []struct {
		name string
		of   time.Duration
		from time.Duration
	}{
		{"years", 365 * 24 * time.Hour, 2 * 365 * 24 * time.Hour},
		{"months", 30 * 24 * time.Hour, 60 * 24 * time.Hour},
		{"weeks", 7 * 24 * time.Hour, 14 * 24 * time.Hour},
		{"days", 24 * time.Hour, 48 * time.Hour},
		{"hours", time.Hour, 2 * time.Hour},
		{"minutes", time.Minute, 2 * time.Minute},
		{"seconds", time.Second, 2 * time.Second},
	} {
		if d >= u.from {
			return fmt.Sprintf("%d %s ago", int64(d/u.of), u.name)
		}
	}
	return "just now"
}

// safe makes text from an image fit for a line.
func safe(s string) string { return sandbox.SafeText(s) }
