package policy_test

import (
	"fmt"

	"github.com/brig-sandbox/brig/configs"
	"github.com/brig-sandbox/brig/policy"
)

// The policy of a judge with more memory, and where its limits come from.
func ExampleLoad() {
	p, origins, err := policy.Load(policy.LoadOptions{
		Name:      "judge",
		Shipped:   configs.FS,
		Overrides: []policy.Override{{Key: "limits.memory", Value: "512m", Origin: "--memory"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Limits.Memory, origins.Of("limits.memory"))
	fmt.Println(p.Limits.CPUTime, origins.Of("limits.cpu_time"))
	fmt.Println(p.Limits.CPUWeight, origins.Of("limits.cpu_weight"))
	// Output:
	// 512MiB --memory
	// 2s shipped judge.toml:14
	// 100 default
}
