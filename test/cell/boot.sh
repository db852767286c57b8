# The first process of a simulated host; its arguments are the host's name and the file with its boot ID. Runs as PID 1 in
# namespaces of its own, sets up what a kernel and an init would, and then only takes in orphans.
set -e
hostname "$1"
mount -t tmpfs tmpfs /run
mount --bind "$2" /proc/sys/kernel/random/boot_id
touch /run/booted
while true; do sleep infinity & wait; done
