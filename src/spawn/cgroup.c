#include "cgroup.h"

#include "base/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "mounts.h"
#include "step.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static const char *const controller_names[CGROUP_CONTROLLERS] = { "memory", "pids", "cpu" };

const char *cgroup_controller_name(enum cgroup_controller c)
{
    return controller_names[c];
}

/* --- reading --- */

uint64_t cgroup_read_number(int groupfd, const char *file)
{
    char text[64];
    uint64_t value = 0;
    ssize_t n = read_small_file(groupfd, file, text, sizeof(text));

    if (n > 0 && text[n - 1] == '\n')
        n--;
    if (n > 0)
        str_to_u64((struct str){ text, (size_t)n }, &value);
    return value;
}

uint64_t cgroup_read_keyed(int groupfd, const char *file, const char *key)
{
    char text[2048];
    size_t key_len = strlen(key);
    uint64_t value = 0;
    char *save = NULL;

    if (read_small_file(groupfd, file, text, sizeof(text)) < 0)
        return 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (strncmp(line, key, key_len) == 0 && line[key_len] == ' ')
            str_to_u64(str_from(line + key_len + 1), &value);
    return value;
}

/* --- finding the hierarchies --- */

struct hierarchy {
    char *v2;
    char *v1[CGROUP_CONTROLLERS];
};

static void hierarchy_free(struct hierarchy *h)
{
    free(h->v2);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        free(h->v1[i]);
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
            return true;
    return false;
}

/* One line of /proc/self/mountinfo: "... root mountpoint options [tags] - type source superoptions". */
static void take_mountinfo_line(char *line, struct hierarchy *h)
{
    char root[256], point[1024], type[64], super[1024];
    const char *tail = strstr(line, " - ");

    if (!tail || sscanf(line, "%*s %*s %*s %255s %1023s", root, point) != 2 || strcmp(root, "/") != 0)
        return;
    if (sscanf(tail, " - %63s %*s %1023s", type, super) != 2)
        return;
    if (strcmp(type, "cgroup2") == 0 && !h->v2)
        h->v2 = strdup(point);
    if (strcmp(type, "cgroup") != 0)
        return;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (!h->v1[i] && has_word(super, controller_names[i]))
            h->v1[i] = strdup(point);
}

static int find_hierarchies(struct hierarchy *ret, struct berm_error *err)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;

    if (!f)
        return berm_fail(err, BERM_E_SYSTEM, errno, "read /proc/self/mountinfo");
    while (getline(&line, &size, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        take_mountinfo_line(line, ret);
    }
    free(line);
    fclose(f);
    return 0;
}

/* --- our own groups --- */

static int open_or_make(int dirfd, const char *name)
{
    if (mkdirat(dirfd, name, 0755) < 0 && errno != EEXIST)
        return -1;
    return openat(dirfd, name, DIR_FLAGS);
}

static int open_v1(const char *mountpoint, const char *parent, const char *id)
{
    _cleanup_close_ int root = open(mountpoint, DIR_FLAGS);
    _cleanup_close_ int top = root < 0 ? -EBADF : open_or_make(root, parent);

    return top < 0 ? -1 : open_or_make(top, id);
}

/*
 * Where nothing mounts the v2 hierarchy a mount of our own serves as well, for it is there all the same. (Not
 * otherwise: a second mount would reset the options of the first.)
 */
static int open_v2_root(const char *mountpoint)
{
    if (host_pretends_to_lack(HOST_CGROUP_V2))
        return -1;
    return mountpoint ? open(mountpoint, DIR_FLAGS) : mount_new("cgroup2", NULL, 0);
}

static int open_v2(const char *mountpoint, const char *parent, const char *id, unsigned *ret_controllers)
{
    const unsigned all = (1u << CGROUP_CONTROLLERS) - 1;
    _cleanup_close_ int root = open_v2_root(mountpoint);
    _cleanup_close_ int top = root < 0 ? -EBADF : open_or_make(root, parent);
    _cleanup_close_ int own = top < 0 ? -EBADF : open_or_make(top, id);

    if (own < 0)
        return -1;
    *ret_controllers = cgroup_v2_enable(root, all);
    *ret_controllers = cgroup_v2_enable(top, *ret_controllers);
    *ret_controllers = cgroup_v2_enable(own, *ret_controllers);
    return TAKE_FD(own);
}

static int open_v1_controllers(const struct hierarchy *h, const char *parent, const char *id,
                               struct cgroup_host *ret, struct berm_error *err)
{
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (ret->v2_controllers & 1u << i)
            continue;
        if (!h->v1[i])
            return berm_fail(err, BERM_E_SYSTEM, EOPNOTSUPP, "the %s controller is in no usable cgroup hierarchy",
                             controller_names[i]);
        ret->v1_fd[i] = open_v1(h->v1[i], parent, id);
        if (ret->v1_fd[i] < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "make a group in %s", h->v1[i]);
    }
    return 0;
}

int cgroup_host_open(const char *parent, const char *id, struct cgroup_host *ret, struct berm_error *err)
{
    _cleanup_(hierarchy_free) struct hierarchy h = { 0 };

    *ret = (struct cgroup_host){ .v2_fd = -EBADF, .v1_fd = { -EBADF, -EBADF, -EBADF } };
    snprintf(ret->path, sizeof(ret->path), "/%s/%s", parent, id);
    if (find_hierarchies(&h, err) < 0)
        return -1;
    ret->v2_fd = open_v2(h.v2, parent, id, &ret->v2_controllers);
    if (ret->v2_fd < 0)
        ret->v2_fd = -EBADF;
    if (open_v1_controllers(&h, parent, id, ret, err) < 0) {
        cgroup_host_close(ret);
        return -1;
    }
    return 0;
}

void cgroup_host_close(struct cgroup_host *host)
{
    close_fd(&host->v2_fd);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        close_fd(&host->v1_fd[i]);
}

static void remove_own(int root, const char *parent, const char *id)
{
    _cleanup_close_ int top = root < 0 ? -EBADF : openat(root, parent, DIR_FLAGS);

    if (top < 0)
        return;
    unlinkat(top, id, AT_REMOVEDIR);
    unlinkat(root, parent, AT_REMOVEDIR); /* EBUSY while another data directory has groups there */
}

void cgroup_host_remove(const char *parent, const char *id)
{
    _cleanup_(hierarchy_free) struct hierarchy h = { 0 };
    _cleanup_close_ int v2 = -EBADF;

    if (find_hierarchies(&h, NULL) < 0)
        return;
    v2 = open_v2_root(h.v2);
    remove_own(v2, parent, id);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        _cleanup_close_ int root = h.v1[i] ? open(h.v1[i], DIR_FLAGS) : -EBADF;
        remove_own(root, parent, id);
    }
}

/* --- the group of a sandbox --- */

static int make_group(int dirfd, const char *name)
{
    return dirfd < 0 ? 0 : mkdirat(dirfd, name, 0755);
}

int cgroup_create(const struct cgroup_host *host, const char *name)
{
    if (make_group(host->v2_fd, name) < 0)
        return -1;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (make_group(host->v1_fd[i], name) < 0)
            return -1;
    return 0;
}

int cgroup_open_v2(const struct cgroup_host *host, const char *name)
{
    return host->v2_fd < 0 ? -EBADF : openat(host->v2_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The group in the hierarchy that has the controller; *ret_v2 says which kind. */
static int open_for(const struct cgroup_host *host, const char *name, enum cgroup_controller c, bool *ret_v2)
{
    *ret_v2 = host->v2_controllers & 1u << c;
    return openat(*ret_v2 ? host->v2_fd : host->v1_fd[c], name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool same_limit(enum cgroup_controller c, const struct spawn_limits *a, const struct spawn_limits *b)
{
    switch (c) {
    case CGROUP_MEMORY:
        return a->memory_bytes == b->memory_bytes;
    case CGROUP_PIDS:
        return a->pids == b->pids;
    default:
        return a->cpu_millis == b->cpu_millis;
    }
}

int cgroup_set_limits(const struct cgroup_host *host, const char *name, const struct spawn_limits *old,
                      const struct spawn_limits *limits)
{
    for (unsigned c = 0; c < CGROUP_CONTROLLERS; c++) {
        _cleanup_close_ int fd = -EBADF;
        bool v2;

        if (old && same_limit(c, old, limits))
            continue;
        fd = open_for(host, name, c, &v2);
        if (fd < 0 || (v2 ? cgroup_v2_set(fd, c, limits) : cgroup_v1_set(fd, c, old, limits)) < 0)
            return -1;
    }
    return 0;
}

/* `tasks`, never `cgroup.procs`: that takes the lock of all thread groups, for milliseconds. */
int cgroup_join_v1(const struct cgroup_host *host, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/tasks", name);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (host->v1_fd[i] >= 0 && write_small_file(host->v1_fd[i], path, "0") < 0)
            return -1;
    return 0;
}

static int write_v2(const struct cgroup_host *host, const char *name, const char *file, const char *text)
{
    char path[96];

    if (host->v2_fd < 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    snprintf(path, sizeof(path), "%s/%s", name, file);
    if (write_small_file(host->v2_fd, path, text) == 0)
        return 0;
    if (errno == ENOENT)
        errno = EOPNOTSUPP;
    return -1;
}

bool cgroup_kill_supported(const struct cgroup_host *host, const char *name)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/cgroup.kill", name);
    return host->v2_fd >= 0 && faccessat(host->v2_fd, path, F_OK, 0) == 0;
}

static void kill_members(int dirfd, const char *name)
{
    _cleanup_close_ int fd = -EBADF;
    char path[96], line[32];
    FILE *f;

    snprintf(path, sizeof(path), "%s/cgroup.procs", name);
    fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    f = fd < 0 ? NULL : fdopen(fd, "r");
    if (!f)
        return;
    TAKE_FD(fd);
    while (fgets(line, sizeof(line), f)) {
        uint64_t pid;
        line[strcspn(line, "\n")] = '\0';
        if (str_to_u64(str_from(line), &pid) == 0 && pid > 1)
            kill((pid_t)pid, SIGKILL);
    }
    fclose(f);
}

int cgroup_kill(const struct cgroup_host *host, const char *name)
{
    if (write_v2(host, name, "cgroup.kill", "1") == 0)
        return 0;
    if (host->v2_fd >= 0)
        kill_members(host->v2_fd, name);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (host->v1_fd[i] >= 0)
            kill_members(host->v1_fd[i], name);
    return 0;
}

int cgroup_freeze(const struct cgroup_host *host, const char *name, bool on)
{
    return write_v2(host, name, "cgroup.freeze", on ? "1" : "0");
}

int cgroup_read_stat(const struct cgroup_host *host, const char *name, struct cgroup_stat *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (host->v2_fd >= 0) {
        _cleanup_close_ int fd = cgroup_open_v2(host, name);
        if (fd < 0)
            return -1;
        cgroup_v2_stat(fd, CGROUP_CPU, ret); /* v2 counts cpu time even where the controller is in v1 */
    }
    for (unsigned c = 0; c < CGROUP_CONTROLLERS; c++) {
        bool v2;
        _cleanup_close_ int fd = open_for(host, name, c, &v2);
        if (fd < 0)
            return -1;
        (v2 ? cgroup_v2_stat : cgroup_v1_stat)(fd, c, ret);
    }
    ret->oom_kills = cgroup_oom_kills(host, name);
    return 0;
}

uint32_t cgroup_oom_kills(const struct cgroup_host *host, const char *name)
{
    bool v2;
    _cleanup_close_ int fd = open_for(host, name, CGROUP_MEMORY, &v2);

    if (fd < 0)
        return 0;
    return v2 ? cgroup_v2_oom_kills(fd) : cgroup_v1_oom_kills(fd);
}

int cgroup_remove(const struct cgroup_host *host, const char *name)
{
    int failed = 0;

    if (host->v2_fd >= 0 && unlinkat(host->v2_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        failed = errno;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (host->v1_fd[i] >= 0 && unlinkat(host->v1_fd[i], name, AT_REMOVEDIR) < 0 && errno != ENOENT)
            failed = errno;
    errno = failed;
    return failed ? -1 : 0;
}

static void each_in(int dirfd, void (*callback)(const char *name, void *data), void *data)
{
    int fd = dirfd < 0 ? -1 : openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            callback(entry->d_name, data);
    closedir(dir);
}

void cgroup_each(const struct cgroup_host *host, void (*callback)(const char *name, void *data), void *data)
{
    each_in(host->v2_fd, callback, data);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        each_in(host->v1_fd[i], callback, data);
}

bool cgroup_has_process(const struct cgroup_host *host, const char *name, pid_t pid)
{
    char path[64], text[4096], want[128];
    char *save = NULL;
    size_t want_len;

    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    want_len = (size_t)snprintf(want, sizeof(want), "%s/%s", host->path, name);
    if (read_small_file(AT_FDCWD, path, text, sizeof(text)) < 0)
        return false;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *at = strstr(line, want);
        if (at && (at[want_len] == '\0' || at[want_len] == '/'))
            return true;
    }
    return false;
}
