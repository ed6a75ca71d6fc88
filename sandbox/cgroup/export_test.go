package cgroup

// SweepScopes is tested on groups of the host's.
var SweepScopes = sweepScopes
