/* fuse.c - what may be asked for. */
#include "fuse.h"

#include "mounts.h"

int fuse_control_open(void)
{
    return mount_new("fusectl", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

#define FLAGS_ALLOWED                                                                                              \
    (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_SYNCHRONOUS | MS_DIRSYNC | MS_NOATIME | MS_NODIRATIME |     \
     MS_RELATIME | MS_STRICTATIME | MS_LAZYTIME | MS_SILENT)
#define MAGIC_MASK  UINT64_C(0xffff0000) /* old programs put 0xC0ED here */
#define MAGIC       UINT64_C(0xC0ED0000)
#define UMOUNT_MASK ((uint64_t)(MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW))

static bool is_fuse_type(const char *type)
{
    return strcmp(type, "fuse") == 0 || (strncmp(type, "fuse.", 5) == 0 && type[5]);
}

/* Whether `path` is the directory `top` or in it. */
static bool is_within(const char *path, const char *top)
{
    size_t n = strlen(top);

    return strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* An absolute path of plain components: none empty, ".", or "..". */
static bool is_plain(const char *path)
{
    if (path[0] != '/' || !path[1])
        return false;
    while (*path) {
        size_t n = strcspn(path + 1, "/");
        struct str component = { path + 1, n };
        if (n == 0 || str_is(component, ".") || str_is(component, ".."))
            return false;
        path += n + 1;
    }
    return true;
}

static bool is_forbidden(const char *path)
{
    return is_within(path, "/proc") || is_within(path, "/sys") || is_within(path, "/dev");
}

int fuse_call_check(const struct fuse_call *call)
{
    uint64_t flags = call->flags;

    if (call->unmount)
        return flags & ~UMOUNT_MASK || !is_plain(call->target) || is_forbidden(call->target) ? EPERM : 0;
    if ((flags & MAGIC_MASK) == MAGIC)
        flags &= ~MAGIC_MASK;
    if (flags & ~(uint64_t)FLAGS_ALLOWED || !is_fuse_type(call->type))
        return EPERM;
    return is_plain(call->target) && !is_forbidden(call->target) ? 0 : EPERM;
}
