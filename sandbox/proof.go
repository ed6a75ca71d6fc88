package sandbox

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// proof is what the mechanisms answered when they were asked back, by limit.
type proof struct {
	readBack map[string]string
	// scratchPeak and inodesPeak are the scratch's use at the end: a tmpfs
	// keeps no peak, and what was deleted before is not in it.
	scratchUse, inodesUse Amount
}

// proof asks the mechanisms back, while the sandbox is still there.
func (v *supervisor) proof() proof {
	p := proof{readBack: map[string]string{}, scratchUse: Unknown, inodesUse: Unknown}
	for i := range v.s.res.Plan.Ops {
		op := &v.s.res.Plan.Ops[i]
		b := v.s.box.ReadBack(i)
		if b == nil {
			continue
		}
		switch op.Kind {
		case plan.Rlimit:
			soft, hard := int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))
			p.readBack["rlimit."+op.Data] = strconv.FormatInt(soft, 10)
			p.readBack["ulimit."+op.Data] = fmt.Sprintf("%d:%d", soft, hard)
		case plan.Affinity:
			p.readBack["affinity"] = cpuList(maskCPUs(b))
		default:
		}
	}
	if f := v.ready[launch.ReadyScratch]; f != nil {
		v.statScratch(f, &p)
	}
	return p
}

func (v *supervisor) statScratch(f *os.File, p *proof) {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return
	}
	p.readBack["scratch"] = strconv.FormatInt(int64(st.Blocks)*st.Bsize, 10)
	p.readBack["scratch_inodes"] = strconv.FormatUint(st.Files, 10)
	if st.Blocks > 0 {
		p.scratchUse = Amount(int64(st.Blocks-st.Bfree) * st.Bsize)
	}
	if st.Files > 0 {
		p.inodesUse = Amount(st.Files - st.Ffree)
	}
}

func maskCPUs(mask []byte) []int {
	var list []int
	for i := range 8 * len(mask) {
		if mask[i/8]&(1<<(i%8)) != 0 {
			list = append(list, i)
		}
	}
	return list
}

// rlimitOf is the rlimit that holds a limit, by the limit's name.
var rlimitOf = map[string]string{"pids": "nproc", "open_files": "nofile", "file_size": "fsize", "stack": "stack"}

// receipts prove each limit, from what was planned, what was read back and
// what was seen.
func (v *supervisor) receipts(p proof, seen *pollerSeen, r *Result) []Receipt {
	e := &v.evidence
	list := make([]Receipt, 0, len(v.s.res.Limits))
	for i := range v.s.res.Limits {
		l := &v.s.res.Limits[i]
		rc := Receipt{
			Limit: l.Limit, Asked: l.Asked, Mechanism: l.Mechanism, EnforcedBy: l.EnforcedBy,
			Written: l.Written, Peak: Unknown, Hit: HitUnknown, Holes: l.Holes,
		}
		if v.groupReceipt(&rc, r) {
			list = append(list, rc)
			continue
		}
		switch l.Limit {
		case "wall_time":
			rc.Peak, rc.Hit = Amount(r.Usage.Wall), hit(e.Wall.Over)
			rc.ReadBack = rc.Written
		case "cpu_time":
			rc.Peak, rc.Hit = Amount(r.Usage.CPU), hit(r.Outcome == OutcomeTimeLimit)
			rc.ReadBack = readBackCPU(rc.Written, p)
		case "memory":
			rc.Hit, rc.ReadBack = hit(e.Memory.Over), rc.Written
			rc.Peak = r.Usage.MemoryPeakBytes
		case "swap":
			rc.Hit, rc.ReadBack = hit(false), rc.Written
		case "output":
			rc.Peak, rc.Hit, rc.ReadBack = r.Usage.OutputBytes, hit(e.Output.Over), rc.Written
		case "pids":
			rc.ReadBack = p.readBack["rlimit.nproc"]
			rc.Peak = r.Usage.PIDsPeak
			if seen != nil && seen.PIDsReached {
				rc.Hit = HitYes
			}
		case "cpus", "cpuset":
			rc.ReadBack = p.readBack["affinity"]
			if rc.ReadBack == "" && l.EnforcedBy == ByKernel {
				rc.ReadBack = strconv.Itoa(len(v.s.host.CPUs))
			}
		case "scratch":
			rc.Peak, rc.ReadBack = p.scratchUse, p.readBack["scratch"]
			if v.upper != nil {
				rc.Peak, rc.Hit = max(rc.Peak, v.upperPeak), hit(e.Scratch.Over)
			}
		case "scratch_inodes":
			rc.Peak, rc.ReadBack = p.inodesUse, p.readBack["scratch_inodes"]
		case "file_size":
			if r.Outcome == OutcomeFileLimit {
				rc.Hit = HitYes
			}
			rc.ReadBack = p.readBack["rlimit.fsize"]
		default:
			rc.ReadBack = p.readBack[l.Limit]
			if name, ok := rlimitOf[l.Limit]; ok {
				rc.ReadBack = p.readBack["rlimit."+name]
			}
		}
		if l.EnforcedBy == ByNobody {
			rc.Hit, rc.ReadBack = HitNo, ""
			if l.Asked != "unlimited" {
				rc.Hit = HitUnknown
			}
		}
		list = append(list, rc)
	}
	return list
}

func readBackCPU(written string, p proof) string {
	if s := p.readBack["rlimit.cpu"]; s != "" {
		return written + " (RLIMIT_CPU " + s + "s)"
	}
	return ""
}

func hit(over bool) Hit {
	if over {
		return HitYes
	}
	return HitNo
}
