#!/bin/sh
# Let OpenClaw start once, natively, in the tree of its image: its installation is finished, its state is migrated and
# its code is compiled, each of which an emulated guest would need minutes for, at every first start on an empty volume.
# usage: unshare --mount --net --pid --fork --kill-child sh first-start.sh ROOT VARIABLE=VALUE...
# The state (and so the device's key) is the same in every lab host. It is a lab image: production has its own.
set -eu
root=$1
shift
user=1000:1000
openclaw=/app/node_modules/openclaw/openclaw.mjs

mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/home/node/.cache"
ip link set lo up

chroot "$root" env HOME=/tmp node "$openclaw" --version # as root: finishes the installation
mkdir -m 0777 "$root/app/.compile-cache"
# The very configuration that the lab's host gets: OpenClaw migrates its state again after every change of it.
install -m 0444 "$(dirname "$0")/openclaw.json" "$root/tmp/openclaw.json"

# The words before every command that runs as the image's user.
set -- chroot --userspec="$user" "$root" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/node NODE_ENV=production \
    OPENCLAW_NO_RESPAWN=1 OPENCLAW_DISABLE_BONJOUR=1 "$@" \
    OPENCLAW_STATE_DIR=/home/node/.openclaw OPENCLAW_CONFIG_PATH=/tmp/openclaw.json \
    OPENCLAW_GATEWAY_TOKEN=only-for-the-first-start-of-the-lab-image
"$@" node "$openclaw" gateway run &
gateway=$!
waited=0
until "$@" node -e "fetch('http://127.0.0.1:18789/healthz').then(r => process.exit(r.ok ? 0 : 1)).catch(() => process.exit(1))"; do
    waited=$((waited + 1))
    if [ "$waited" -gt 240 ] || ! kill -0 "$gateway"; then
        exit 1
    fi
    sleep 0.5
done
sleep 5 # what it loads once it answers
kill "$gateway"
wait "$gateway"

# Locks and scratch of the run; the rest of the state stays.
rm -rf "$root/home/node/.openclaw/tmp" "$root/home/node/.openclaw/logs"
chown -R 0:0 "$root/app/.compile-cache"
chmod -R u=rwX,go=rX "$root/app/.compile-cache"
