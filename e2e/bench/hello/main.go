// Command hello is the smallest Go program that does something: the floor
// under the start-up time of every other.
package main

import "os"

func main() {
	if _, err := os.Stdout.WriteString("hello\n"); err != nil {
		os.Exit(1)
	}
}
