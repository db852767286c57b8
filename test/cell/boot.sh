# The first process of a simulated host; its arguments are the host's name and the file with its boot ID. Runs as PID 1 in
# namespaces of its own, sets up what a kernel and an init would, and then only takes in orphans.
set -e
hostname "$1"
mount -t tmpfs tmpfs /run
mount --bind "$2" /proc/sys/kernel/random/boot_id
# Mesos 1.11 knows only version 1 of control groups and fails when it meets version 2.
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
touch /run/booted
while true; do sleep infinity & wait; done
