package seccomp

// arches says on which of brig's architectures an entry of a base counts.
type arches uint8

const (
	bothArches arches = iota
	onlyAMD64
	onlyARM64
	otherArch
)

// has tells whether the entry counts on arch.
func (a arches) has(arch string) bool {
	switch a {
	case bothArches:
		return true
	case onlyAMD64:
		return arch == AMD64
	case onlyARM64:
		return arch == ARM64
	case otherArch:
	}
	return false
}

// entry is one row of Docker's profile: what happens to a call, on which
// architectures, with and without which capability, for which arguments.
type entry struct {
	Name          string
	Action        Action
	Arches        arches
	With, Without string
	Args          []Arg
}
