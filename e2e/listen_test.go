package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"
)

// listeners are what a script has listening on the host.
type listeners struct {
	reached atomic.Int64
}

// listenersKey finds them in a script's values.
type listenersKey struct{}

// cmdListen listens on the host's loopback and on an abstract socket, and puts
// the port and the socket's name into two variables:
//
//	listen PORT NAME
func cmdListen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: listen port-variable name-variable")
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	name := fmt.Sprintf("brig-e2e-%d-%s", os.Getpid(), ts.Name())
	abstract, err := net.Listen("unix", "@"+name)
	ts.Check(err)
	state := ts.Value(listenersKey{}).(*listeners)
	for _, l := range []net.Listener{tcp, abstract} {
		ts.Defer(func() { _ = l.Close() })
		go state.count(l)
	}
	ts.Setenv(args[0], strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port))
	ts.Setenv(args[1], name)
}

// count notes every connection until the listener is closed.
func (s *listeners) count(l net.Listener) {
	for {
		connection, err := l.Accept()
		if err != nil {
			return
		}
		s.reached.Add(1)
		_ = connection.Close()
	}
}

// cmdUnreached fails when anybody has connected to what listen opened.
// Negated, it fails when nobody has: that shows that listening works.
func cmdUnreached(ts *testscript.TestScript, neg bool, _ []string) {
	reached := ts.Value(listenersKey{}).(*listeners).reached.Load()
	if (reached == 0) == neg {
		ts.Fatalf("%d connections", reached)
	}
}
