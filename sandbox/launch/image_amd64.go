package launch

import _ "embed" // for image

// image is init, as init/build.sh makes it of init/init.c.
//
//go:embed init/init_amd64
var image string
