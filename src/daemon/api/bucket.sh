# shellcheck shell=sh
# Runs in a sandbox, for bucket.c, as `sh -c TEXT sh VERB PATH SPELLED [SOURCE OPTIONS KEYS]`: mounts or unmounts a bucket.
#   SPELLED  the path as /proc/mounts spells it
#   SOURCE   what s3fs calls the bucket
#   KEYS     where its keys are from: "given" (a line of stdin), "inside" (the environment of the sandbox) or "none"
# Exit codes are bucket.c's table, the reason is on stderr.
verb=$1 path=$2 spelled=$3

fail() {
    printf '%s' "$2" >&2
    exit "$1"
}

# kind: of the file system that lies over the path, if there is one
look() {
    kind=
    while read -r _ at type _; do
        [ "$at" = "$spelled" ] && kind=$type
    done </proc/self/mounts
}

mount_bucket() {
    source=$1 options=$2 keys_from=$3

    [ -z "$kind" ] || fail 3 "Mount path \"$path\" is already in use"
    command -v s3fs >/dev/null || fail 5 'S3FS mount failed: there is no s3fs in the image'
    keys=
    case $keys_from in
    given) IFS= read -r keys ;;
    inside)
        if [ -n "${AWS_ACCESS_KEY_ID-}" ] && [ -n "${AWS_SECRET_ACCESS_KEY-}" ]; then
            keys=$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY
        elif [ -n "${R2_ACCESS_KEY_ID-}" ] && [ -n "${R2_SECRET_ACCESS_KEY-}" ]; then
            keys=$R2_ACCESS_KEY_ID:$R2_SECRET_ACCESS_KEY
        else
            fail 4 'No credentials found: give options.credentials, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of the sandbox'
        fi
        ;;
    esac
    made=
    [ -d "$path" ] || { mkdir -p -- "$path" && made=1; } || exit 5
    log=$(umask 077 && mktemp /tmp/.s3fs-log-XXXXXX) || exit 5
    printf 'S3FS mount failed: ' >&2
    printf '%s\n' "$keys" | s3fs "$source" "$path" -o "logfile=$log,$options" >&2 9<&- || {
        undo >/dev/null 2>&1
        exit 5
    }
    keys=
    # s3fs mounts, goes into the background, and only then asks the server: so the first look at the directory is what
    # tells whether it works, and it waits for the server.
    (timeout -s KILL 30 stat -- "$path/." 9<&-) >/dev/null 2>&1
    answered=$?
    look
    if [ $answered = 0 ] && [ "$kind" = fuse.s3fs ]; then
        rm -f -- "$log"
        exit 0
    fi
    said=$(sed -n 's/.*\[\(CRT\|ERR\)\] [^ ]* //p' "$log" | tail -n 3)
    undo >/dev/null 2>&1
    fail 5 "${said:-the server did not answer}"
}

undo() {
    umount -l -- "$path" || fusermount -uz -- "$path"
    [ -z "$made" ] || rmdir -- "$path"
    rm -f -- "$log"
}

unmount_bucket() {
    [ "$kind" = fuse.s3fs ] || fail 3 "No active mount found at path: $path"
    umount -- "$path" || fusermount -u -- "$path" || exit 5
    look
    [ -n "$kind" ] || rmdir -- "$path" 2>/dev/null
    exit 0
}

# One at a time, by a lock on a directory that is always there.
exec 9</ || exit 5
if command -v flock >/dev/null; then
    flock -w 30 9 || fail 5 'another mount has been under way for 30 s'
fi
look
case $verb in
mount) mount_bucket "$4" "$5" "$6" ;;
unmount) unmount_bucket ;;
esac
