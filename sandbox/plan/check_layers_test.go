package plan

import (
	"errors"
	"testing"
)

// What the layers of a root, and the one that brig makes above them, must keep.
func TestCheckLayers(t *testing.T) {
	change := func(k Kind) func(func(*Op)) func(*Plan) {
		return func(spoil func(*Op)) func(*Plan) { return func(p *Plan) { spoil(p.Find(k)) } }
	}
	root, file := change(Root), change(File)
	for _, tt := range []struct {
		name  string
		spoil func(*Plan)
		is    error
		want  string
	}{
		{"layer of nothing", root(func(o *Op) { o.Flags, o.Handle, o.Layers = InSource, 3, []int{9} }), ErrInvalid, "invalid plan: op 15 (root): handle 9 was never opened"},
		{"layer twice", root(func(o *Op) { o.Flags, o.Handle, o.Layers = InSource, 3, []int{3} }), ErrInvalid, "invalid plan: op 15 (root): handle 3 was used before"},
		{"layers without an overlay", root(func(o *Op) { o.Layers = []int{3} }), ErrInvalid, "invalid plan: op 15 (root): layers, or a lack of an upper, without an overlay"},
		{"no upper without an overlay", root(func(o *Op) { o.Flags |= ReadOnly }), ErrInvalid, "invalid plan: op 15 (root): layers, or a lack of an upper, without an overlay"},
		{"more layers than the kernel stacks", root(func(o *Op) { o.Flags, o.Handle, o.Layers = InSource, 3, make([]int, MaxLayers) }), ErrInvalid, "invalid plan: op 15 (root): 500 layers, the most is 499"},
		{"mount point without an upper", root(func(o *Op) { o.Flags, o.Handle = InSource|ReadOnly, 3 }), ErrInvalid, "invalid plan: op 16: mountpoint in a root without an upper"},
		{"copy without an upper", func(p *Plan) {
			drop(Mountpoint)(p)
			root(func(o *Op) { o.Flags, o.Handle = InSource|ReadOnly, 3 })(p)
		}, ErrInvalid, "invalid plan: op 16: copy in a root without an upper"},
		{"file of a relative path", file(func(o *Op) { o.Source, o.Data = "hosts", "" }), ErrInvalid, `invalid plan: op 14 (file): source "hosts" is not an absolute, clean path`},
		{"file of two contents", file(func(o *Op) { o.Source = "/etc/hosts" }), ErrInvalid, "invalid plan: op 14 (file): a source and data"},
	} {
		p := everything()
		tt.spoil(p)
		if err := Check(p); !errors.Is(err, tt.is) || err.Error() != tt.want {
			t.Errorf("%s: %v\nwant %s", tt.name, err, tt.want)
		}
	}
}
