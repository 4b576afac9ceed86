#include "landlock_files.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <sys/syscall.h>

#define ABI_WITH_REFER    2
#define ABI_WITH_TRUNCATE 3
#define ABI_WITH_NET      4
#define ABI_WITH_SCOPES   6

/* Newer than the headers of Debian 12. */
#define ACCESS_FS_TRUNCATE    (UINT64_C(1) << 14)
#define ACCESS_NET_BIND_TCP   (UINT64_C(1) << 0)
#define SCOPE_ABSTRACT_SOCKET (UINT64_C(1) << 0)
#define SCOPE_SIGNAL          (UINT64_C(1) << 1)

struct ruleset_attr {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

static long kernel_abi(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static uint64_t handled_files(long abi)
{
    uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* the thirteen of the first ABI */

    if (abi >= ABI_WITH_REFER)
        all |= LANDLOCK_ACCESS_FS_REFER;
    return abi >= ABI_WITH_TRUNCATE ? all | ACCESS_FS_TRUNCATE : all;
}

int landlock_files_new(bool binds, struct berm_error *err)
{
    long abi = kernel_abi();
    struct ruleset_attr attr = {
        .handled_access_fs = handled_files(abi),
        .handled_access_net = abi >= ABI_WITH_NET && !binds ? ACCESS_NET_BIND_TCP : 0,
        .scoped = abi >= ABI_WITH_SCOPES ? SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL : 0,
    };
    size_t size = abi >= ABI_WITH_SCOPES ? sizeof(attr) : offsetof(struct ruleset_attr, scoped);
    int fd;

    if (abi < 1)
        return -2;
    if (abi < ABI_WITH_NET)
        size = sizeof(attr.handled_access_fs);
    fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    return fd >= 0 ? fd : berm_fail(err, BERM_E_SYSTEM, errno, "make a Landlock ruleset");
}

int landlock_files_allow(int ruleset, const char *path, uint64_t access, struct berm_error *err)
{
    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };

    if (access & LANDLOCK_ACCESS_FS_WRITE_FILE)
        rule.allowed_access |= handled_files(kernel_abi()) & ACCESS_FS_TRUNCATE;
    if (fd < 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "allow %s", path);
    return 0;
}

int landlock_files_allow_beside(int ruleset, const char *file, struct berm_error *err)
{
    char path[PATH_MAX] = ".";
    const char *slash = strrchr(file, '/');

    if (slash && str_copy((struct str){ file, (size_t)(slash - file) + 1 }, path, sizeof(path)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENAMETOOLONG, "%s", file);
    return landlock_files_allow(ruleset, path, LANDLOCK_ACCESS_FS_READ_FILE, err);
}

int landlock_files_allow_certificate(int ruleset, const char *file, struct berm_error *err)
{
    _cleanup_free_ char *real = realpath(file, NULL);

    if (!real)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", file);
    return landlock_files_allow_beside(ruleset, file, err) < 0 ? -1
                                                               : landlock_files_allow_beside(ruleset, real, err);
}

int landlock_files_enter(int ruleset, struct berm_error *err)
{
    _cleanup_close_ int fd = ruleset;

    if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "enter the Landlock domain");
    return 0;
}
