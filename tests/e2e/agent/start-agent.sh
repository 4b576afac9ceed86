#!/bin/sh
# Starts berm-agent as pid 1 of a private world: own mount and pid namespaces, the host's programs read-only, own
# /tmp, /dev/shm, /root and /workspace. Everything is gone when it ends. Descriptor 3, if open, goes through.
# Usage: start-agent.sh EMPTY_DIRECTORY AGENT [ARGUMENTS...]
set -eu

if [ "${IN_NAMESPACES:-}" != 1 ]; then
    user=--map-root-user
    if [ "$(id -u)" = 0 ] && [ -z "${AGENT_WATCHES:-}" ]; then user=; fi
    IN_NAMESPACES=1 exec unshare $user --mount --pid --fork --kill-child --propagation private "$0" "$@"
fi

# How many inotify watches there are in this user namespace.
if [ -n "${AGENT_WATCHES:-}" ]; then echo "$AGENT_WATCHES" >/proc/sys/user/max_inotify_watches; fi

root=$1
agent=$2
shift 2

mount -t tmpfs -o mode=755 tmpfs "$root"
for name in bin sbin lib lib32 lib64 libx32 usr etc opt; do
    if [ -L "/$name" ]; then
        cp -d "/$name" "$root/$name"
    elif [ -d "/$name" ]; then
        mkdir "$root/$name"
        mount --rbind "/$name" "$root/$name"
        mount -o remount,bind,ro "$root/$name" 2>/dev/null || true
    fi
done
mkdir "$root/dev" "$root/proc" "$root/tmp" "$root/root" "$root/workspace" "$root/other"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/other"
mount -t proc proc "$root/proc"
chmod 1777 "$root/tmp"
touch "$root/berm-agent"
mount --bind "$agent" "$root/berm-agent"
cd "$root"
# A user that is not root, so that a limit of processes counts (AGENT_NPROC).
if [ -n "${AGENT_NPROC:-}" ]; then
    set -- --userspec=61234:61234 . /berm-agent "$@"
    prlimit --pid $$ --nproc="$AGENT_NPROC"
else
    set -- . /berm-agent "$@"
fi
# shellcheck disable=SC2086 # AGENT_ENV is a list of assignments without spaces in them
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root ${AGENT_ENV:-} \
    ${ASAN_OPTIONS:+"ASAN_OPTIONS=$ASAN_OPTIONS"} chroot "$@"
