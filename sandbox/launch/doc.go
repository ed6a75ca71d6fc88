// Package launch carries a plan out: it lowers the plan to a program of system
// calls and executes init, which clones itself into fresh namespaces and
// interprets the program there.
//
// The program is one block of memory. init maps it at a fixed address, so that
// pointers in it are plain numbers:
//
//	base     header   magic, address of the ops, what the job's process and
//	                  init report (mirrors struct header in init/init.c)
//	         data     strings, structures, argv, envp, and the cells that
//	                  hold results of calls, such as descriptors
//	         ops      88 bytes each (mirrors struct op in init/init.c)
//
// Brig and init talk over one SOCK_SEQPACKET pair:
//
//	brig                                   init
//	  |  exec of init from a memfd, as the   |
//	  |  launcher, with the namespaces, by   |
//	  |  Clone or, before Go is there, entry |
//	  |------------------------------------->|  clone(CLONE_PARENT | ...)
//	  |  'C'  the process, or an errno       |
//	  |<-------------------------------------|  the launcher ends
//	  |  'P'  the program is written         |
//	  |------------------------------------->|
//	  |  'M'  the id maps are written        |   (not where init writes them)
//	  |------------------------------------->|  set-up ops, then fork
//	  |  'R'  ready, with descriptors        |
//	  |<-------------------------------------|  the job's process execs
//	  |  'F'  an op failed: {op, errno}      |
//	  |<-------------------------------------|
//	  |  'E'  the job ended: wait status,    |
//	  |       usage, who is left             |
//	  |<-------------------------------------|
//	  |  end of file: go, or brig is dead    |
//	  |------------------------------------->|  exits, and all with it
//
// What init cannot open is made by brig and sent to it: the contents of copies, and
// for root the views of directories with other owners (see OpenViews).
//
// The package decides nothing about policy and does not interpret plans beyond
// what plan.Check guarantees.
package launch
