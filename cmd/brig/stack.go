package main

// growStack gives the calling goroutine the stack that a run needs, at once. A
// stack that grows by doubling is copied four times, and each copy walks the
// frames through tables that are nowhere else needed: a quarter of a
// millisecond of page faults.
func growStack()
