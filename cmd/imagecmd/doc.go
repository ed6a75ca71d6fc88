// Package imagecmd is the command tree for images: brig shows it in its help
// and checks command lines by it, brig-image does what they say. It defines the
// flags and links nothing that does the work.
package imagecmd
