package launch

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Beginning is what is known of a plan before the rest is: a child carries it
// out while brig goes on planning. It is no guess, but ops of the plan that is
// being made. What is made of it nobody sees before the plan's own ops.
type Beginning struct {
	// IDs are the maps, which init writes.
	IDs plan.IDs
	// Scratch is the plan's op; the scratch is mounted on nothing yet.
	Scratch plan.Op
	// Below says that the root will be a directory of the scratch.
	Below bool
	// Tree are the first of the ops that make directories, links and files in
	// the root. They need nothing that brig sends.
	Tree []plan.Op
	// Capabilities are those of the plan's op. All others leave the bounding set,
	// init's as well.
	Capabilities []string
}

// begun is a beginning that a child has been told.
type begun struct {
	Beginning
	scratch, tree cell
}

// Begin has the child carry out the beginning of its plan. A plan that begins
// otherwise gets another child. Whether anything of it failed is told by the
// sandbox's first message, and names the op of the plan. A nil child, one that
// is not there yet and one that has begun are left as they are.
func (c *Child) Begin(b *Beginning) {
	if c == nil || c.begun != nil || !c.ahead || b.IDs.By != plan.ByInit || b.IDs.CloneUID != c.uid || b.IDs.CloneGID != c.gid {
		return
	}
	select {
	case <-c.made:
	default:
		return
	}
	program, done, err := lowerBeginning(b)
	if c.err != nil || err != nil || len(program) > earlyRoom {
		return
	}
	if writeAll(c.program, program, aheadPart) == nil && c.tell('A', nil) == nil {
		c.begun = done
	}
}

// lowerBeginning makes the program, for the part of the memory file between what
// is done ahead and what the plan is lowered to.
func lowerBeginning(b *Beginning) ([]byte, *begun, error) {
	l := &lowering{program: newProgramAt(earlyAddress, earlyHeader, 4<<10, 192), plan: &plan.Plan{IDs: b.IDs}}
	l.program.plan = beginningOps
	l.mapIDs()
	l.program.plan++
	l.makeScratch(&b.Scratch, b.Below)
	low := l.scratch
	l.scratch = l.outOfTheWay(l.cell(), low)
	if l.tree == low {
		l.tree = l.scratch
	} else {
		l.tree = l.outOfTheWay(l.cell(), l.tree)
	}
	for i := range b.Tree {
		l.program.plan++
		if err := l.lowerOp(&b.Tree[i]); err != nil {
			return nil, nil, err
		}
	}
	keep, err := capabilitySet(b.Capabilities)
	if err != nil {
		return nil, nil, err
	}
	l.program.plan++
	l.bound(keep)
	l.awaitProgram()
	block, err := l.block()
	return append(block.data, block.ops...), &begun{Beginning: *b, scratch: l.scratch, tree: l.tree}, err
}

// awaitProgram waits for the plan's program and goes on with it.
func (p *program) awaitProgram() {
	p.wait(channelFD, 'P')
	p.op(kindJump, 0, 0, nil, n(baseAddress))
}

// rootInScratch is where in the scratch the root is a directory of it.
const rootInScratch = "/root"

// makeScratch makes the scratch as a detached mount, and in it, where the root
// lies below, the directory for that.
func (l *lowering) makeScratch(op *plan.Op, below bool) {
	l.scratch = l.tmpfs(op)
	l.tree = l.scratch
	if below {
		l.call(unix.SYS_MKDIRAT, l.scratch.val(), l.rel(rootInScratch), n(0o755))
		l.tree = l.get(unix.SYS_OPENAT, l.scratch.val(), l.rel(rootInScratch), n(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), n(0))
	}
}

// Fits tells whether the plan begins like this.
func (b *Beginning) Fits(p *plan.Plan) bool { return b.treeAt(p) >= 0 }

// treeAt is where in a plan the ops of Tree begin, or -1 where the plan does not
// begin like this.
func (b *Beginning) treeAt(p *plan.Plan) int {
	at := slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Scratch })
	if at < 0 || !same(&p.Ops[at], &b.Scratch) || below(p) != b.Below {
		return -1
	}
	if p.IDs.By != b.IDs.By || !slices.Equal(p.IDs.UID, b.IDs.UID) || !slices.Equal(p.IDs.GID, b.IDs.GID) ||
		!slices.Equal(p.Find(plan.Capabilities).Names, b.Capabilities) || p.Find(plan.SetIDs) != nil || p.Find(plan.Cgroup) != nil {
		return -1
	}
	at++
	if at < len(p.Ops) && p.Ops[at].Kind == plan.Upper {
		at++
	}
	if len(p.Ops)-at < len(b.Tree) {
		return -1
	}
	for i := range b.Tree {
		if !same(&p.Ops[at+i], &b.Tree[i]) {
			return -1
		}
	}
	return at
}

// same compares ops of the kinds that a beginning may have.
func same(a, b *plan.Op) bool {
	return a.Kind == b.Kind && a.Source == b.Source && a.Target == b.Target && a.Data == b.Data &&
		a.Flags == b.Flags && a.Mode == b.Mode && a.Size == b.Size && a.Inodes == b.Inodes
}

// below tells whether the plan's root is a directory of the scratch.
func below(p *plan.Plan) bool {
	root := p.Find(plan.Root)
	return root.Flags.Has(plan.InScratch) || root.Flags.Has(plan.InSource)
}

// of is the op's place in the plan for which init has reported a number of the
// beginning, or ahead of it.
func (b *begun) of(number int, p *plan.Plan) int {
	at := b.treeAt(p)
	switch number -= beginningOps; {
	case number == 0:
		return slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.MapIDs })
	case number == 1:
		return slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Scratch })
	case number < 2+len(b.Tree):
		return at + number - 2
	default:
		return slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Capabilities })
	}
}

// done tells whether the op, which is at that place in the plan, was part of the
// beginning.
func (b *begun) done(i, treeAt int, op *plan.Op) bool {
	return b != nil && (op.Kind == plan.MapIDs || i >= treeAt && i < treeAt+len(b.Tree))
}
