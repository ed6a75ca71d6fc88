// Package wire is what the host and the agent in a machine say to each other
// over a virtio-serial port: JSON values, one after the other. The agent says
// Hello first. Then the host sends Commands and the agent answers each with
// Events, the last of which has Exit set; one command runs at a time.
package wire

// Hello is the agent's first word.
type Hello struct {
	UID    int    // whose session this is
	Kernel string // as uname -r
	Cgroup string // of the agent, as /proc/self/cgroup has it
}

// Command is a program that the agent is to run in its session.
type Command struct {
	Argv []string
	Env  []string // beyond the session's own
	Dir  string   // empty: the home directory
	// Seconds bound its run; then it is killed with all that it started in
	// its process group.
	Seconds int
}

// Event is a part of a command's output, or its end.
type Event struct {
	Output []byte // standard output and error, in order
	Exit   *int   // the exit code, 128+n for signal n, or -1 with Failed set
	Failed string // why it could not be run or was ended
}
