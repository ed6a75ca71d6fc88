package policy

import "strconv"

// Layer is what kind of place a value came from.
type Layer string

// The layers, lowest first.
const (
	LayerDefault Layer = "default" // built into brig
	LayerShipped Layer = "shipped" // a policy that ships with brig
	LayerFile    Layer = "file"    // a policy file
	LayerFlag    Layer = "flag"    // the command line
)

// Origin is where a value was set.
type Origin struct {
	Layer Layer `json:"layer"`
	// Name is the shipped policy's file name, the file's path or the flag.
	Name string `json:"name,omitempty"`
	// Line counts from 1 in files; 0 elsewhere.
	Line int `json:"line,omitempty"`
}

// String writes the origin as explain shows it.
func (o Origin) String() string {
	switch o.Layer {
	case LayerShipped:
		return "shipped " + o.Name + ":" + strconv.Itoa(o.Line)
	case LayerFile:
		return printable(o.Name) + ":" + strconv.Itoa(o.Line)
	case LayerFlag:
		return printable(o.Name)
	default:
		return "default"
	}
}

// Origins knows where each value of a policy was set. It is not safe for use
// by several goroutines at once: lines are looked up when they are asked for.
type Origins struct {
	places map[string]place
}

// place is an origin whose line has not been looked up.
type place struct {
	doc  *document // nil for a flag
	at   string    // the path in the document
	flag string
}

func (o *Origins) set(key string, doc *document, at string) {
	o.places[key] = place{doc: doc, at: at}
}

// inDocument reports whether a key was last set in a document, and where.
func (o *Origins) inDocument(key string, doc *document) (at string, ok bool) {
	p, ok := o.places[key]
	return p.at, ok && p.doc == doc
}

func (o *Origins) setFlag(key, flag string) {
	o.places[key] = place{flag: flag}
}

// Of is the origin of a key: a dotted path as in a policy file
// ("limits.memory"), a mount by its target ("filesystem.mount[/work]"), an I/O
// limit by its device ("limits.io[/dev/sda]"), a rule by its position
// ("seccomp.rule[0]"), a variable or an rlimit by its name
// ("environment.set.PATH", "limits.ulimit.memlock").
func (o *Origins) Of(key string) Origin {
	p, ok := o.places[key]
	switch {
	case !ok:
		return Origin{Layer: LayerDefault}
	case p.doc == nil:
		return Origin{Layer: LayerFlag, Name: p.flag}
	}
	return Origin{Layer: p.doc.layer, Name: p.doc.name, Line: p.doc.line(p.at)}
}
