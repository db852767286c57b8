#!/bin/bash
# manifest.sh FILE: prints the managed plugin's manifest without a right that this machine has not itself and so cannot give
# to a plugin: the engine would not start it. Only the right to make a mounted ext4 larger can be spared.
set -euo pipefail
[ $# = 1 ] || { echo "usage: manifest.sh FILE" >&2; exit 1; }
right=CAP_SYS_RESOURCE number=24 # see capabilities(7)
bound=$(awk '$1 == "CapBnd:" {print $2}' /proc/self/status)
if ((0x$bound >> number & 1)); then
  cat "$1"
else
  echo "manifest.sh: this machine has no $right: the plugin is built without, and a mounted ext4 grows when it is mounted the next time" >&2
  sed "s/, \"$right\"//" "$1"
fi
