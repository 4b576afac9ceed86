#include "landlock.h"

#include "step.h"

#include <linux/landlock.h>
#include <sys/syscall.h>

#define ABI_WITH_SCOPES            6

#define SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0)
#define SCOPE_SIGNAL               (UINT64_C(1) << 1)

/* The kernel takes any size up to its own, so the newest layout serves all ABIs once its new fields are left out.
 */
struct ruleset_attr {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

unsigned landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return abi < 0 || host_pretends_to_lack(HOST_LANDLOCK) ? 0 : (unsigned)abi;
}

/*
 * Any domain refuses to link or rename between directories unless that right is handled and granted, hence the one
 * rule: it grants that from the root down. (The first ABI could not grant it at all, so it is of no use to us.)
 */
int landlock_ruleset_new(unsigned abi, int root_fd)
{
    struct ruleset_attr attr = {
        .handled_access_fs =
            LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_REFER,
        .scoped = abi >= ABI_WITH_SCOPES ? SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL : 0,
    };
    struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_REFER,
        .parent_fd = root_fd,
    };
    size_t size = abi >= ABI_WITH_SCOPES ? sizeof(attr) : sizeof(attr.handled_access_fs);
    _cleanup_close_ int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);

    if (fd < 0 || syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return -1;
    return TAKE_FD(fd);
}

int landlock_enter(int ruleset_fd)
{
    return (int)syscall(SYS_landlock_restrict_self, ruleset_fd, 0);
}
