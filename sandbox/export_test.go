package sandbox

// ResolveWith is Resolve with somebody who is told of a plan's beginning.
var ResolveWith = resolve
