/*
 * commit_main.c - berm-commit: what berm-spawn runs, as root, for an image of a sandbox's files.
 *
 *     berm-commit IMAGES NAME BYTES     makes it of descriptors 3 and 4 (base/commit_wire.h)
 *     berm-commit --remove IMAGES NAME  removes it, unless it is in use
 *
 * All three words come from berm-spawn, none from a client. It is a program of its own because berm-spawn is linked
 * statically and should hold no archive code.
 */
#include "base/commit_wire.h"
#include "base/sys.h"
#include "image/commit.h"

#include <signal.h>
#include <sys/stat.h>

static int errno_of(const struct berm_error *err)
{
    if (err->errnum)
        return err->errnum;
    switch (err->code) {
    case BERM_E_IMAGE_INVALID:
        return EINVAL;
    case BERM_E_IMAGE_IN_USE:
        return EBUSY;
    case BERM_E_IMAGE_NOT_FOUND:
        return ENOENT;
    default:
        return EIO;
    }
}

static int tell(int rc, const struct image *image, const struct berm_error *err)
{
    struct commit_verdict verdict = { .error = rc < 0 ? errno_of(err) : 0 };

    if (rc < 0) {
        snprintf(verdict.message, sizeof(verdict.message), "%.*s", (int)sizeof(verdict.message) - 1, err->message);
        for (char *c = verdict.message; *c; c++)
            *c = *c >= ' ' && *c < 0x7f ? *c : '?';
    } else {
        verdict.size_bytes = image->size_bytes;
        memcpy(verdict.digest, image->digest_bytes, sizeof(verdict.digest));
    }
    return write_all(STDOUT_FILENO, &verdict, sizeof(verdict)) < 0 || rc < 0;
}

int main(int argc, char **argv)
{
    struct image_commit commit = { .root_fd = COMMIT_ROOT_FD, .userns_fd = COMMIT_USERNS_FD };
    struct image_import_report report;
    struct image image = { .size_bytes = 0 };
    struct berm_error err = { 0 };

    signal(SIGPIPE, SIG_IGN);
    umask(022);
    if (argc == 4 && !strcmp(argv[1], "--remove"))
        return tell(image_remove(argv[2], argv[3], &err), &image, &err);
    if (argc != 4 || str_to_u64(str_from(argv[3]), &commit.bytes_max) < 0) {
        fprintf(stderr, "berm-commit is run by berm-spawn\n");
        return 2;
    }
    return tell(image_commit(argv[1], argv[2], &commit, &image, &report, &err), &image, &err);
}
