package plan

import (
	"slices"
	"testing"
)

// viewed is everything as root has it: the directory given copy-on-write is a view
// in which its owner is the job.
func viewed() *Plan {
	p := everything()
	whole := []Mapping{{0, 2013265920, 65536}}
	p.IDs = IDs{Map: "keep-id", By: ByParent, CloneUID: 2013265920, CloneGID: 2013265920, UID: whole, GID: whole}
	*p.view() = Op{Kind: Open, Handle: 3, Source: "/root/project", Device: 2050, Inode: 77, Flags: Mapped, UID: 1000, GID: 1000, OwnerGID: 4}
	return p
}

// view is the op that opens the lower layer.
func (p *Plan) view() *Op {
	return &p.Ops[slices.IndexFunc(p.Ops, func(op Op) bool { return op.Kind == Open && op.Handle == 3 })]
}

func TestViewIsSafe(t *testing.T) {
	p := viewed()
	if err := Check(p); err != nil {
		t.Fatal(err)
	}
	const want = "open #3 /root/project owner 0:4 as 1000:1000 mapped"
	if got := p.view().String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, change := range []func(*Op){
		func(op *Op) { op.UID++ }, func(op *Op) { op.GID++ }, func(op *Op) { op.OwnerUID++ }, func(op *Op) { op.OwnerGID++ },
	} {
		q := viewed()
		if change(q.view()); q.Digest() == p.Digest() {
			t.Errorf("%s has the digest of %s", q.view(), p.view())
		}
	}
}

func TestCheckView(t *testing.T) {
	view := func(change func(*Op)) func(*Plan) { return func(p *Plan) { change(p.view()) } }
	tests := []struct {
		name  string
		spoil func(*Plan)
		want  string
	}{
		{"by a user", func(p *Plan) { p.IDs.By = ByHelper }, `invalid plan: op 7 (open): mapped by a caller who is not root: the id maps are written by "newuidmap"`},
		{"of anything", view(func(op *Op) { op.Inode = 0 }), "invalid plan: op 7 (open): mapped, whatever it is"},
		{"of nobody", view(func(op *Op) { op.UID = 65536 }), "invalid plan: op 7 (open): mapped to 65536:1000, which is nobody inside"},
		{"of no group", view(func(op *Op) { op.GID = 65536 }), "invalid plan: op 7 (open): mapped to 1000:65536, which is nobody inside"},
		{"optional", view(func(op *Op) { op.Flags |= Optional }), "invalid plan: op 7 (open): only a directory that is opened as it is can be mapped"},
		{"in place", view(func(op *Op) { op.Flags |= InPlace }), "invalid plan: op 7 (open): only a directory that is opened as it is can be mapped"},
		{"of a device", view(func(op *Op) { op.CharDevice = 259 }), "invalid plan: op 7 (open): only a directory that is opened as it is can be mapped"},
		{"of no source", func(p *Plan) { p.Find(Scratch).Flags |= Mapped }, "invalid plan: op 10 (scratch): only a directory that is opened as it is can be mapped"},
		{"owner without a view", view(func(op *Op) { op.Flags = InPlace }), "invalid plan: op 7 (open): an owner of what is not mapped"},
		{"bound", func(p *Plan) { p.Find(Overlay).Kind = Bind }, "invalid plan: op 20 (bind): handle 3 has other owners, and is for an overlay only"},
		{"the root", func(p *Plan) { *p.Find(Root) = Op{Kind: Root, Handle: 3, Flags: InSource} }, "invalid plan: op 15 (root): handle 3 has other owners, and is for an overlay only"},
		{"for what is written", func(p *Plan) { p.Find(Upper).Handle = 3 }, "invalid plan: op 11 (upper): handle 3 has other owners, and is for an overlay only"},
		{"twice", func(p *Plan) {
			p.Ops = slices.Insert(p.Ops, p.index(Overlay), Op{Kind: Overlay, Handle: 3, Target: "/again"})
		}, "invalid plan: op 21 (overlay): handle 3 was used before"},
	}
	for _, tt := range tests {
		p := viewed()
		tt.spoil(p)
		if err := Check(p); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v\nwant %s", tt.name, err, tt.want)
		}
	}
}

func TestView(t *testing.T) {
	whole := []Mapping{{0, 1 << 20, 65536}}
	tests := []struct {
		name          string
		list          []Mapping
		owner, inside uint32
		want          []Mapping
	}{
		{"root's for root", whole, 0, 0, whole},
		{"the job's own number", whole, 1000, 1000, whole},
		{"root's for the job", whole, 0, 1000, []Mapping{
			{1, 1<<20 + 1, 999}, {1001, 1<<20 + 1001, 64535}, {0, 1<<20 + 1000, 1}, {1000, 1 << 20, 1},
		}},
		{"a user's for root", whole, 1000, 0, []Mapping{
			{1, 1<<20 + 1, 999}, {1001, 1<<20 + 1001, 64535}, {1000, 1 << 20, 1}, {0, 1<<20 + 1000, 1},
		}},
		{"neighbours, and the last", whole, 65534, 65535, []Mapping{{0, 1 << 20, 65534}, {65534, 1<<20 + 65535, 1}, {65535, 1<<20 + 65534, 1}}},
		{"of a number beyond", whole, 70000, 0, []Mapping{{1, 1<<20 + 1, 65535}, {70000, 1 << 20, 1}}},
		{"of the last number there is", whole, 1<<32 - 1, 0, []Mapping{{1, 1<<20 + 1, 65535}, {1<<32 - 1, 1 << 20, 1}}},
		{"one id", []Mapping{{1000, 1 << 20, 1}}, 0, 1000, []Mapping{{0, 1 << 20, 1}}},
		{"in parts", []Mapping{{0, 500, 10}, {10, 900, 10}}, 3, 12, []Mapping{
			{0, 500, 3}, {4, 504, 6}, {10, 900, 2}, {13, 903, 7}, {3, 902, 1}, {12, 503, 1},
		}},
	}
	for _, tt := range tests {
		ids := IDs{UID: tt.list, GID: whole}
		uid, gid := ids.View(&Op{OwnerUID: tt.owner, UID: tt.inside})
		if !slices.Equal(uid, tt.want) {
			t.Errorf("%s: %v\nwant %v", tt.name, uid, tt.want)
		}
		if !slices.Equal(gid, whole) {
			t.Errorf("%s: groups %v", tt.name, gid)
		}
		seen := map[uint32]bool{}
		for _, m := range uid {
			for i := range m.Count {
				if seen[m.Outside+i] {
					t.Fatalf("%s: %d is given twice", tt.name, m.Outside+i)
				}
				seen[m.Outside+i] = true
			}
			if _, ok := Inside(tt.list, m.Outside); !ok {
				t.Errorf("%s: %v is none of the sandbox's ids", tt.name, m)
			}
		}
	}
}
