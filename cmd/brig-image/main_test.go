package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/brig-sandbox/brig/cmd/imagecmd"
	"github.com/brig-sandbox/brig/sandbox/image"
)

// TestEveryCommandIsDone: what the shared tree offers, this program does.
func TestEveryCommandIsDone(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	root := &cobra.Command{Use: "brig"}
	for _, c := range imagecmd.Commands() {
		root.AddCommand(c.Build(dispatch))
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() || c == root {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no description or no example", c.CommandPath())
		}
		c.SetOut(&bytes.Buffer{})
		c.SetContext(t.Context())
		_ = c.ParseFlags(nil)
		if err := c.RunE(c, []string{"localhost:1/no-such-image", "-"}[:min(2, argsOf(c))]); err != nil && strings.HasPrefix(err.Error(), "no command") {
			t.Error(err)
		}
	}
	walk(root)
}

// argsOf is how many arguments a command takes here without reading anything.
func argsOf(c *cobra.Command) int {
	switch c.Name() {
	case "save", "rmi", "rm", "history", "inspect", "import", "commit", "export", "pull", "push", "diff", "apply", "discard", "review":
		return 1
	case "tag":
		return 2
	}
	return 0
}

func TestChange(t *testing.T) {
	for _, tt := range []struct {
		line string
		want image.Config
		err  string
	}{
		{`CMD ["a", "b"]`, image.Config{Cmd: []string{"a", "b"}}, ""},
		{`cmd a b`, image.Config{Cmd: []string{"/bin/sh", "-c", "a b"}}, ""},
		{`ENTRYPOINT ["a"]`, image.Config{Entrypoint: []string{"a"}}, ""},
		{`ENV A=b=c d`, image.Config{Env: []string{"A=b=c d"}}, ""},
		{`ENV A b`, image.Config{Env: []string{"A=b"}}, ""},
		{`ENV A="b c"`, image.Config{Env: []string{"A=b c"}}, ""},
		{`LABEL a=b`, image.Config{Labels: map[string]string{"a": "b"}}, ""},
		{`EXPOSE 80 53/udp`, image.Config{ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}}}, ""},
		{`VOLUME ["/a", "/b"]`, image.Config{Volumes: map[string]struct{}{"/a": {}, "/b": {}}}, ""},
		{`USER me:us`, image.Config{User: "me:us"}, ""},
		{`WORKDIR /w`, image.Config{WorkingDir: "/w"}, ""},
		{`STOPSIGNAL SIGINT`, image.Config{StopSignal: "SIGINT"}, ""},
		{`WORKDIR w`, image.Config{}, "the directory is not absolute"},
		{`ENV A`, image.Config{}, "it is not NAME=VALUE"},
		{`USER`, image.Config{}, "it is not INSTRUCTION VALUE"},
		{`RUN x`, image.Config{}, "there is no instruction RUN\n  fix: use CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR"},
	} {
		var c image.Config
		err := change(&c, tt.line)
		if got := text(err); got != tt.err || !cmp.Equal(c, tt.want) {
			t.Errorf("%s: %+v, %q", tt.line, c, got)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestPrintRows(t *testing.T) {
	columns := []column{{"A", "AAA"}, {"B", "BBB"}}
	rows := []row{{"A": "1", "B": "long value"}, {"A": "22", "B": "x"}}
	for format, want := range map[string]string{
		"":                     "AAA   BBB\n1     long value\n22    x\n",
		"json":                 `{"A":"1","B":"long value"}` + "\n" + `{"A":"22","B":"x"}` + "\n",
		"{{.B}}":               "long value\nx\n",
		`table {{.B}}\t{{.A}}`: "BBB          AAA\nlong value   1\nx            22\n",
		"{{.A | json}}":        "\"1\"\n\"22\"\n",
	} {
		var b bytes.Buffer
		if err := printRows(&b, format, columns, []string{"A", "B"}, rows); err != nil || b.String() != want {
			t.Errorf("%q: %q %v", format, b.String(), err)
		}
	}
	for format, want := range map[string]string{
		"{{.C}}": `--format: template: :1:2: executing "" at <.C>: map has no entry for key "C"`,
		"{{":     "--format: template: :1: unclosed action",
	} {
		if err := printRows(&bytes.Buffer{}, format, columns, []string{"A"}, rows); text(err) != want {
			t.Errorf("%q: %v", format, err)
		}
	}
}

func TestSizeAndAgo(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1kB", 159_400_000: "159MB", 1_234_000_000: "1.23GB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{0: "just now", 90 * time.Second: "90 seconds ago", 49 * time.Hour: "2 days ago", 800 * 24 * time.Hour: "2 years ago"} {
		then := now.Add(-d)
		if got := ago(&then, now); got != want {
			t.Errorf("ago(%s) = %s, want %s", d, got, want)
		}
	}
	if got := ago(nil, now); got != "N/A" {
		t.Errorf("no time: %s", got)
	}
}
