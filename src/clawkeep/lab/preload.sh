#!/bin/sh
# Do natively what would cost an emulated guest many seconds: compile its AppArmor profiles, and load the container
# images into its Docker data root, each with the guest's own programs.
# usage: unshare --mount --net --pid --fork --kill-child sh preload.sh ROOT APPARMOR_FEATURES ARCHIVE...
# The new namespaces keep every mount, address and process of this away from the machine, and end it all with us.
set -eu
root=$1
features=$2
shift 2

mount --make-rprivate /
mount --bind "$root" "$root" # the daemon changes the propagation of its root, which only a mount point has
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
ip link set lo up

# The features are the guest kernel's, as its /sys/kernel/security/apparmor shows them; a cache made for others would
# not be used, and the guest's start take ten seconds longer.
mkdir -p "$root/var/cache/apparmor"
cp "$features" "$root/tmp/features"
chroot "$root" apparmor_parser --skip-kernel-load --write-cache --kernel-features=/tmp/features \
    --cache-loc=/var/cache/apparmor /etc/apparmor.d

chroot "$root" dockerd --host unix:///run/docker.sock --storage-driver overlay2 \
    --iptables=false --ip6tables=false --bridge=none --exec-opt native.cgroupdriver=cgroupfs >"$root/tmp/dockerd.log" 2>&1 &
daemon=$!
waited=0
until chroot "$root" docker version >/dev/null 2>&1; do
    waited=$((waited + 1))
    if [ "$waited" -gt 120 ] || ! kill -0 "$daemon" 2>/dev/null; then
        tail -n 5 "$root/tmp/dockerd.log" >&2
        exit 1
    fi
    sleep 0.25
done
for archive in "$@"; do
    chroot "$root" docker load --quiet <"$archive"
done
chroot "$root" docker image ls --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'
kill "$daemon"
wait "$daemon" || true
