#!/bin/sh
# brig doctor: this host lacks nothing that a script could mend.
