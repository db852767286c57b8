#!/bin/bash
# rootfs.sh DIR BINARY: fills DIR, the root file system of the managed plugin, with the mooring binary and the tools of ext4
# and xfs that it calls, each with its libraries, all taken from this machine.
set -euo pipefail
die() { echo "rootfs.sh: $*" >&2; exit 1; }
[ $# = 2 ] || die "usage: rootfs.sh DIR BINARY"
root=$1 binary=$2
[ -f "$binary" ] || die "$binary is missing: build it first"

put() { # FILE: copies a file, links followed, to the same path below the root
  mkdir -p "$root$(dirname "$1")"
  cp -L --preserve=mode "$1" "$root$1"
}

tool() { # PACKAGE NAME: a program, with what it is linked with
  local path library
  path=$(PATH=/usr/sbin:/sbin:/usr/bin:/bin command -v "$2") || die "$2 is missing: apt-get install $1"
  [ "$(head -c 2 "$path")" != '#!' ] || die "$2 is a script, which the plugin has no shell for: build on a Debian 12"
  put "$path"
  while read -r library; do
    [ -e "$root$library" ] || put "$library"
  done < <(ldd "$path" | grep -o '/[^ ]*')
}

mkdir -p "$root"
cp "$binary" "$root/mooring"
for name in mke2fs e2fsck resize2fs; do tool e2fsprogs $name; done
for name in mkfs.xfs xfs_repair; do tool xfsprogs $name; done
