package userns

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// askName asks glibc for the login name of the caller through getent(1).
func (o LookupOptions) askName(ctx context.Context) (string, error) {
	uid := strconv.FormatUint(uint64(o.UID), 10)
	unknown := &Problem{
		Reason: UnknownUser,
		Cause:  "uid " + uid + " has no login name, and subordinate ids belong to names",
		Fix:    "run brig as a user that has an account, add one for uid " + uid + " to /etc/passwd, or use the single mapping",
	}
	if o.Getent == "" {
		return "", unknown
	}
	null, err := openNull()
	if err != nil {
		return "", err
	}
	defer func() { _ = null.Close() }()
	r, err := startTool(ctx, null, true, o.Getent, "passwd", uid)
	if err != nil {
		return "", toolFailed(o.Getent, err)
	}
	state, stdout, _, err := r.wait(ctx)
	if err != nil {
		return "", err
	}
	name := passwdLine([]byte(stdout), ":"+uid+":")
	if !state.Success() || name == "" {
		return "", unknown
	}
	return name, nil
}

// askRanges asks getsubids(1) for both kinds at the same time.
func (o LookupOptions) askRanges(ctx context.Context, f subidFiles, source string) (SubIDs, error) {
	null, err := openNull()
	if err != nil {
		return SubIDs{}, err
	}
	defer func() { _ = null.Close() }()
	u, err := startTool(ctx, null, true, o.Getsubids, o.Name)
	if err != nil {
		return SubIDs{}, toolFailed(o.Getsubids, err)
	}
	g, err := startTool(ctx, null, true, o.Getsubids, "-g", o.Name)
	if err != nil {
		_ = u.process.Kill()
		_, _, _, _ = u.wait(ctx)
		return SubIDs{}, toolFailed(o.Getsubids, err)
	}
	uState, uText, uSaid, uErr := u.wait(ctx)
	gState, gText, gSaid, gErr := g.wait(ctx)
	for _, err := range [...]error{uErr, gErr} {
		if err != nil {
			return SubIDs{}, err
		}
	}
	// getsubids ends with 1 both when there is no range and when it fails.
	if !uState.Success() || !gState.Success() {
		said := firstOf(uSaid, gSaid)
		if said != "" {
			said = "getsubids says " + strconv.Quote(said)
		}
		return SubIDs{}, noRange(o, f, source, said)
	}
	var sub SubIDs
	if sub.UID, err = parseGetsubids(o.Getsubids, uText); err != nil {
		return SubIDs{}, err
	}
	if sub.GID, err = parseGetsubids(o.Getsubids+" -g", gText); err != nil {
		return SubIDs{}, err
	}
	if len(sub.UID) == 0 || len(sub.GID) == 0 {
		return SubIDs{}, noRange(o, f, source, "")
	}
	return sub, sub.check(o.Getsubids, o.Getsubids+" -g", o)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// parseGetsubids reads lines of "0: alice 100000 65536".
func parseGetsubids(command, text string) ([]Range, error) {
	var entries []SubIDEntry
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(line, "\n")
		f := strings.Fields(line)
		why := "not four fields"
		if len(f) == 4 {
			var e SubIDEntry
			if e, why = parseSubIDLine(strings.Join(f[1:], ":")); why == "" {
				e.Line = n
				entries = append(entries, e)
				continue
			}
		}
		return nil, &Problem{
			Reason: RangeMalformed,
			Cause:  fmt.Sprintf("output of %s, line %d: %q: %s", command, n, clip([]byte(line)), why),
			Fix:    "correct the range in the directory service that /etc/nsswitch.conf names for subid",
		}
	}
	if err := OverlapsIn("output of "+command, entries); err != nil {
		return nil, err
	}
	ranges := make([]Range, len(entries))
	for i, e := range entries {
		ranges[i] = e.Range
	}
	return ranges, nil
}

func toolFailed(path string, err error) error {
	return &Problem{
		Reason: ToolFailed, Cause: "starting " + path, Err: err,
		Fix: "reinstall the package that has it; run it by hand to see why it does not start",
	}
}
