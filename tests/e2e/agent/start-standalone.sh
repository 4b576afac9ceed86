#!/bin/sh
# Starts berm-agent as somebody would who copied the one file into an image: as pid 1 of ROOT, without the options that
# bermd gives but for the port. ROOT is made here, in a mount namespace of its own, and gone at the end.
#   start-standalone.sh KIND DIRECTORY AGENT PORT [COMMAND...]
# KIND: bash (nothing but bash), busybox (and its tools), or the path of an image's rootfs.erofs.
set -eu

if [ "${IN_NAMESPACES:-}" != 1 ]; then
    IN_NAMESPACES=1 exec unshare --mount --pid --fork --kill-child --propagation private "$0" "$@"
fi

kind=$1
directory=$2
agent=$3
port=$4
shift 4

root=$directory/root
mkdir -p "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
case $kind in
bash | busybox)
    mkdir "$root/bin" "$root/dev" "$root/proc" "$root/tmp" "$root/etc" "$root/root"
    cp /bin/bash-static "$root/bin/bash"
    if [ "$kind" = busybox ]; then
        cp /bin/busybox "$root/bin/busybox"
        chroot "$root" /bin/busybox --install -s /bin
        rm -f "$root/bin/bash" && cp /bin/bash-static "$root/bin/bash"
    fi
    ;;
*)
    mkdir "$root/lower" "$root/upper" "$root/work" "$root/merged"
    mount -t erofs -o loop,ro "$kind" "$root/lower"
    mount -t overlay -o "lowerdir=$root/lower,upperdir=$root/upper,workdir=$root/work" overlay "$root/merged"
    root=$root/merged
    ;;
esac
[ "$kind" = bash ] || mkdir -p "$root/workspace"
if [ -d "$directory/files" ]; then cp -a "$directory/files/." "$root/"; fi
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
cp "$agent" "$root/berm-agent"
cd "$root"
# shellcheck disable=SC2086 # AGENT_ENV is a list of assignments without spaces in them
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root ${AGENT_ENV:-} \
    chroot . /berm-agent --listen-port "$port" "$@"
