package sandbox

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SafeText makes text that may hold names from a hostile job fit for one line
// of a terminal, a log or a meta file: control and format characters (escape
// sequences, newlines, direction overrides) and bytes that are not UTF-8 come
// out as Go escapes. Text without any is returned as it is.
func SafeText(s string) string {
	safe := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f {
			safe = false
			break
		}
	}
	if safe {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case unicode.IsPrint(r):
			b.WriteString(s[i : i+n])
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}
