package configs

import _ "embed" // for the drop-in

// DelegateDropIn is systemd/delegate.conf, the drop-in by which an
// administrator has systemd hand the controllers that brig uses to users.
//
//go:embed systemd/delegate.conf
var DelegateDropIn string
