package main

import (
	"strings"
	"testing"
)

func TestEmulatorOf(t *testing.T) {
	for version, moves := range map[string]bool{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright": false,
		"QEMU emulator version 9.2.0\n":                                             false,
		"QEMU emulator version 10.0.7 (Debian 1:10.0.7+ds-0+deb13u1+b1)\nCopyright": true,
		"QEMU emulator version 11.0.50\n":                                           true,
		"something else":                                                            false,
	} {
		got := strings.Join(emulatorOf(version).qemu, " ")
		if strings.Contains(got, "erms=off") == moves || !strings.HasSuffix(strings.TrimSuffix(got, noByteMoves), ",la57=off") {
			t.Errorf("%q: %s", version, got)
		}
	}
	if got := tcg.qemu[len(tcg.qemu)-1]; !strings.HasSuffix(got, noByteMoves) {
		t.Errorf("the processor of all was changed: %s", got)
	}
}
