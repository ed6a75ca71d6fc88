// Package engine keeps containers: sandboxes with a name, layers of their own
// that outlast one command, and the record of how they were last run. It knows
// where things lie and who uses them; running is package sandbox's.
//
// A Store is one directory, by default $XDG_DATA_HOME/brig/containers, for root
// /var/lib/brig/containers, beside the store of images:
//
//	lock                     held while containers appear, go or are renamed
//	ID/                      a container; ID is 64 hexadecimal digits
//	ID/lock                  flock(2): exclusive while the container runs or is
//	                         changed, shared while its layers are read. The
//	                         sandbox's init holds it as well, so that it lasts
//	                         until the last process is gone, however brig ended
//	ID/container.json        Record: name, image, command, ids, layers, last run
//	ID/container.spare       space set aside for the record of a run's end
//	ID/policy.toml           the policy of each run, with every value written out
//	ID/data/upperN           the upper directory of overlay N, counted from 1 as
//	ID/data/workN            in Record.Overlays, and overlayfs's own beside it;
//	                         their files belong to the ids of Record.IDs
//	ID/baseN                 of a cow overlay: what the host's directory held
//	                         before the job first ran on it (see WriteBase)
//	.new-ID/, .gone-ID/      being made, or being removed
//
// An upper is as overlayfs with the mount option userxattr has it: a deleted name
// is a character device 0:0, a directory that hides the one below it has the
// attribute user.overlay.opaque = "y", and other attributes user.overlay.* are the
// kernel's own notes. Nothing of brig's own layer (host name, hosts, resolv.conf,
// mtab, mount points) is in it unless the job has changed it; Record.Own lists what
// that is, and commit leaves it out.
//
// # Crashes
//
// Documents are replaced by rename, after a sync. A container is made under
// .new-ID with its lock held and renamed when its record is complete; removing it
// begins with renaming it to .gone-ID. So a name is there with everything or not
// at all, and what a killed process left has a lock that nobody holds: Sweep
// removes it, and every command that makes or removes containers sweeps. A
// container whose run has begun and not ended, and whose lock nobody holds, was
// abandoned by a killed brig: its state is Dead, and its layers are as the job left
// them.
//
// # Use
//
//	store, err := engine.OpenDefault()
//	c, err := store.Find("fix")
//	release, err := c.Lock(engine.Shared)
//	defer release()
//	for _, o := range c.Overlays() { ... o.Upper, o.Lower, o.Source, o.Base ... }
//
// Lock reads the record anew; what is read before it may be out of date.
package engine
