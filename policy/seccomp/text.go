package seccomp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Text is the profile for people and for diff: a line for each call, by name
// order of its number, and below it what depends on arguments.
func (p *Profile) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "arch     %s\nbase     %s\nkey      %s\n", p.Arch, p.Base, p.Key)
	if p.None() {
		b.WriteString("no filter: every call is allowed\n")
		return b.String()
	}
	fmt.Fprintf(&b, "deny     %v\nnumbers above %d: %v\nother architectures and x32: %v\nfilters, as they are loaded:\n", p.Deny, p.Highest, errNoSys, KillProcess)
	for i := range p.DenialActions {
		fmt.Fprintf(&b, "  %d allows all but some arguments, for which it says %v\n", i+1, p.DenialActions[len(p.DenialActions)-1-i])
	}
	fmt.Fprintf(&b, "  %d says %v to all but what is allowed below\n\n", len(p.DenialActions)+1, p.Deny)
	for _, c := range p.Calls {
		fmt.Fprintf(&b, "%4d %-24s %-7v %s\n", c.Number, c.Name, c.Action, c.Why)
		for _, m := range c.Allows {
			fmt.Fprintf(&b, "     %24s %-7v if %v\n", "", Allow, m)
		}
		for _, d := range c.Denials {
			fmt.Fprintf(&b, "     %24s %-7v if %v (%s)\n", "", d.Action, d.Match, d.Why)
		}
	}
	return b.String()
}

// Digest is the SHA-256 of Text in hexadecimal.
func (p *Profile) Digest() string {
	sum := sha256.Sum256([]byte(p.Text()))
	return hex.EncodeToString(sum[:])
}

type jsonProfile struct {
	Version  int        `json:"version"`
	Arch     string     `json:"arch"`
	Base     string     `json:"base"`
	Key      string     `json:"key"`
	OnDeny   string     `json:"on_deny,omitempty"`
	Unknown  string     `json:"unknown,omitempty"`
	Foreign  string     `json:"foreign,omitempty"`
	Highest  uint32     `json:"highest,omitempty"`
	Syscalls []jsonCall `json:"syscalls"`
}

type jsonCall struct {
	Name    string       `json:"name"`
	Number  uint32       `json:"number"`
	Action  string       `json:"action"`
	Why     string       `json:"why"`
	Allows  [][]jsonArg  `json:"allows,omitempty"`
	Denials []jsonDenial `json:"denials,omitempty"`
}

type jsonDenial struct {
	Action string    `json:"action"`
	Why    string    `json:"why"`
	Args   []jsonArg `json:"args"`
}

type jsonArg struct {
	Index uint   `json:"index"`
	Op    string `json:"op"`
	Value uint64 `json:"value"`
	Mask  uint64 `json:"mask,omitempty"`
}

// JSON is the profile for programs, indented. The form is version 1.
func (p *Profile) JSON() ([]byte, error) {
	out := jsonProfile{Version: 1, Arch: p.Arch, Base: p.Base, Key: p.Key, Syscalls: []jsonCall{}}
	if !p.None() {
		out.OnDeny, out.Unknown, out.Foreign, out.Highest = p.Deny.String(), errNoSys.String(), KillProcess.String(), p.Highest
	}
	for _, c := range p.Calls {
		j := jsonCall{Name: c.Name, Number: c.Number, Action: c.Action.String(), Why: c.Why}
		for _, m := range c.Allows {
			j.Allows = append(j.Allows, jsonArgs(m))
		}
		for _, d := range c.Denials {
			j.Denials = append(j.Denials, jsonDenial{Action: d.Action.String(), Why: d.Why, Args: jsonArgs(d.Match)})
		}
		out.Syscalls = append(out.Syscalls, j)
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the profile as JSON: %w", err)
	}
	return append(b, '\n'), nil
}

func jsonArgs(m Match) []jsonArg {
	out := make([]jsonArg, len(m))
	for i, a := range m {
		out[i] = jsonArg(a)
	}
	return out
}
