package layer

import "fmt"

// noted counts what was left out, by its reason.
type noted struct {
	order  []string
	counts map[string]int
	first  map[string]string
}

// maxReasons bounds the reasons: some quote the archive.
const maxReasons = 20

func (n *noted) add(reason, example string) { n.addN(reason, 1, example) }

func (n *noted) addN(reason string, count int, example string) {
	if n.counts == nil {
		n.counts, n.first = map[string]int{}, map[string]string{}
	}
	if n.counts[reason] == 0 {
		if len(n.order) == maxReasons {
			return
		}
		n.order = append(n.order, reason)
		n.first[reason] = example
	}
	n.counts[reason] += count
}

func (n *noted) list() []string {
	var list []string
	for _, reason := range n.order {
		s := reason
		switch c, first := n.counts[reason], n.first[reason]; {
		case first == "":
			s += fmt.Sprintf(" (%d)", c)
		case c == 1:
			s += fmt.Sprintf(" (%q)", shorten(first))
		default:
			s += fmt.Sprintf(" (%d, such as %q)", c, shorten(first))
		}
		list = append(list, s)
	}
	return list
}
