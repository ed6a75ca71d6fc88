package sandbox_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/sandbox"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// What a job uses is told while it runs, whoever counts it, and not afterwards.
func TestStats(t *testing.T) {
	sandboxtest.Need(t, "userns", "seccomp")
	for _, manager := range []string{"", sandbox.CgroupNone} {
		t.Run("manager "+manager, func(t *testing.T) {
			spec := sandbox.NewSpec(shipped(t, "strict"), "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 100")
			spec.Filter, spec.CgroupManager = configs.Filter, manager
			s, err := sandbox.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Kill()
			var st sandbox.Stats
			for begin := time.Now(); st.CPU < 20*time.Millisecond && time.Since(begin) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
				if st, err = s.Stats(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
			}
			if st.CPU < 20*time.Millisecond || st.Memory < 4096 || st.MemoryPeak < st.Memory || st.PIDs != 1 || st.Wall <= 0 {
				t.Errorf("%+v", st)
			}
			if err := s.Freeze(true); manager == sandbox.CgroupNone && !errors.Is(err, &sandbox.Error{Code: sandbox.CodeCgroup}) {
				t.Errorf("frozen without a group: %v", err)
			}
			s.Kill()
			if _, err := s.Wait(); err != nil {
				t.Error(err)
			}
			if _, err := s.Stats(); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}
