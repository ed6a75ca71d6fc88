// Command vm makes and starts the virtual machines.
package main

func main() {}
