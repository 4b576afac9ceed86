/*
 * bucket.h - buckets of S3 servers as directories of a sandbox, by s3fs in it: what mounts.c has found well-formed
 * is done here.
 *
 * s3fs runs inside like any program of the sandbox's, and mounts through berm-spawn's broker. What is mounted is
 * what the sandbox's own table of mounts says; the daemon keeps nothing, so it holds over the daemon's death and
 * ends with the sandbox's generation. The keys go through a pipe that s3fs reads to its end: they are in no
 * argument, no variable and no file. They are in the memory of s3fs as long as it runs, and whoever is root in the
 * sandbox can read that.
 */
#pragma once

#include "daemon/api/api.h"

struct bucket_mount {
    const char *path; /* normalised, not "/" */
    struct str bucket, endpoint, prefix;
    const struct json *s3fs_options; /* an array of strings, or NULL */
    struct str key_id, secret;       /* n == 0: of the sandbox's environment */
    bool read_only;
};

/* Answers the request. */
void bucket_mount(struct request *request, const struct bucket_mount *mount);
void bucket_unmount(struct request *request, const char *path);

/* 502 `mount_error` or `unmount_error`, and what kind of it in context.reason, by the SDK's names. */
void bucket_refuse(struct request *request, enum berm_err code, const char *reason, const char *message);
