#include "daemon/confine.h"

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

#define READING               (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITING                                                                                                    \
    (READING | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG)

struct ruleset_attr {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

static uint64_t handled_files(long abi)
{
    uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* the thirteen of the first ABI */

    if (abi >= ABI_WITH_REFER)
        all |= LANDLOCK_ACCESS_FS_REFER;
    return abi >= ABI_WITH_TRUNCATE ? all | ACCESS_FS_TRUNCATE : all;
}

/*
 * The daemon connects to any port inside of a sandbox, which Landlock cannot tell from the host's. With the Docker
 * API it also listens on ports of the loopback that workerd chose to remember.
 */
static int new_ruleset(long abi, bool binds_ports)
{
    struct ruleset_attr attr = {
        .handled_access_fs = handled_files(abi),
        .handled_access_net = abi >= ABI_WITH_NET && !binds_ports ? ACCESS_NET_BIND_TCP : 0,
        .scoped = abi >= ABI_WITH_SCOPES ? SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL : 0,
    };
    size_t size = abi >= ABI_WITH_SCOPES ? sizeof(attr) : offsetof(struct ruleset_attr, scoped);

    if (abi < ABI_WITH_NET)
        size = sizeof(attr.handled_access_fs);
    return (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
}

static int allow(int ruleset, const char *path, uint64_t access, struct berm_error *err)
{
    _cleanup_close_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = dir };

    if (dir < 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "allow the daemon %s", path);
    return 0;
}

static int allow_in(int ruleset, const char *directory, const char *name, uint64_t access, struct berm_error *err)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
        return berm_fail(err, BERM_E_SYSTEM, ENAMETOOLONG, "%s", directory);
    return allow(ruleset, path, access, err);
}

/* What is read again on SIGHUP may have been replaced by then: so its directory. */
static int allow_parent(int ruleset, const char *file, struct berm_error *err)
{
    char path[PATH_MAX];
    const char *slash = strrchr(file, '/');
    struct str parent = { file, slash ? (size_t)(slash - file) + 1 : 0 };

    if (str_copy(parent, path, sizeof(path)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENAMETOOLONG, "%s", file);
    return allow(ruleset, path, LANDLOCK_ACCESS_FS_READ_FILE, err);
}

/* A certificate is often a symbolic link to a directory in which the renewed one appears too. */
static int allow_certificates(int ruleset, const struct config_list *files, struct berm_error *err)
{
    for (size_t i = 0; i < files->count; i++) {
        _cleanup_free_ char *real = realpath(files->items[i], NULL);

        if (!real)
            return berm_fail(err, BERM_E_SYSTEM, errno, "%s", files->items[i]);
        if (allow_parent(ruleset, files->items[i], err) < 0 || allow_parent(ruleset, real, err) < 0)
            return -1;
    }
    return 0;
}

/* What is read again while the program runs. */
static int allow_reloads(int ruleset, const struct config *config, struct berm_error *err)
{
    if (config->keys_file && allow_parent(ruleset, config->keys_file, err) < 0)
        return -1;
    if (config->edge_link_keys && allow_parent(ruleset, config->edge_link_keys, err) < 0)
        return -1;
    if (allow_certificates(ruleset, &config->tls_certificate, err) < 0 ||
        allow_certificates(ruleset, &config->tls_key, err) < 0)
        return -1;
    return 0;
}

/* -2: the kernel has no Landlock. */
static int begin(bool binds_ports, long *ret_abi, struct berm_error *err)
{
    int ruleset;

    *ret_abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (*ret_abi < 1)
        return -2;
    ruleset = new_ruleset(*ret_abi, binds_ports);
    return ruleset < 0 ? berm_fail(err, BERM_E_SYSTEM, errno, "make a Landlock ruleset") : ruleset;
}

int confine_prepare(const struct config *config, struct berm_error *err)
{
    long abi;
    _cleanup_close_ int ruleset = begin(config->docker_socket != NULL, &abi, err);

    if (ruleset < 0)
        return ruleset;
    if (allow_in(ruleset, config->data, "state", WRITING | (handled_files(abi) & ACCESS_FS_TRUNCATE), err) < 0 ||
        allow(ruleset, config->images, READING, err) < 0 || allow_reloads(ruleset, config, err) < 0)
        return -1;
    return TAKE_FD(ruleset);
}

int confine_prepare_edge(const struct config *config, struct berm_error *err)
{
    long abi;
    _cleanup_close_ int ruleset = begin(false, &abi, err);

    if (ruleset < 0)
        return ruleset;
    return allow_reloads(ruleset, config, err) < 0 ? -1 : TAKE_FD(ruleset);
}

int confine_enter(int ruleset_fd, struct berm_error *err)
{
    _cleanup_close_ int ruleset = ruleset_fd;

    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "enter the Landlock domain");
    return 0;
}
