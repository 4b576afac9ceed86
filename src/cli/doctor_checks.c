/* doctor_checks.c - what `berm doctor` looks up by itself. */
#include "doctor.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "base/json.h"
#include "base/sys.h"
#include "cli/units.h"

/* Whether a file holds `word` between white space or commas. */
static bool file_has_word(const char *path, const char *word)
{
    char text[16384];
    size_t n = strlen(word);
    ssize_t got = read_small_file(AT_FDCWD, path, text, sizeof(text));

    for (const char *at = got > 0 ? text : ""; *at;) {
        size_t length = strcspn(at, " ,\t\n");
        if (length == n && strncmp(at, word, n) == 0)
            return true;
        at += length + (at[length] != '\0');
    }
    return false;
}

/* ---- kernel ---- */

/* 5.19 has idmapped overlay layers, which share an image among sandboxes that each have ids of their own. */
static void check_kernel(struct cli *cli, const char *data_dir, struct finding *ret)
{
    struct utsname name;
    unsigned major = 0, minor = 0;

    (void)cli;
    (void)data_dir;
    uname(&name);
    sscanf(name.release, "%u.%u", &major, &minor);
    if (major > 5 || (major == 5 && minor >= 19))
        finding_set(ret, HEALTH_OK, "%s %s", name.sysname, name.release);
    else
        finding_set(ret, HEALTH_MISSING, "%s %s: 5.19 or newer is needed", name.sysname, name.release);
}

static void check_namespaces(struct cli *cli, const char *data_dir, struct finding *ret)
{
    static const char *const names[] = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup" };
    char missing[64] = "";

    (void)cli;
    (void)data_dir;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[64];
        size_t used = strlen(missing);
        snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
        if (access(path, F_OK) < 0)
            snprintf(missing + used, sizeof(missing) - used, " %s", names[i]);
    }
    if (missing[0])
        finding_set(ret, HEALTH_MISSING, "the kernel lacks:%s", missing);
    else
        finding_set(ret, HEALTH_OK, "user mnt pid net ipc uts cgroup");
}

/* A sysctl or a security module may forbid what the kernel has: only trying tells. */
static void check_user_namespaces(struct cli *cli, const char *data_dir, struct finding *ret)
{
    int status = 0;
    pid_t child = fork();

    (void)cli;
    (void)data_dir;
    if (child == 0)
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : MIN(errno, 255));
    if (child < 0 || RETRY_EINTR(waitpid(child, &status, 0)) < 0)
        finding_set(ret, HEALTH_MISSING, "cannot try: %s", strerror(errno));
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        finding_set(ret, HEALTH_OK, "can be made");
    else
        finding_set(ret, HEALTH_MISSING, "cannot be made: %s",
                    WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "killed");
}

static void check_seccomp(struct cli *cli, const char *data_dir, struct finding *ret)
{
    static const char path[] = "/proc/sys/kernel/seccomp/actions_avail";

    (void)cli;
    (void)data_dir;
    if (file_has_word(path, "kill_process") && file_has_word(path, "errno") && file_has_word(path, "user_notif"))
        finding_set(ret, HEALTH_OK, "filters with kill_process and user_notif");
    else
        finding_set(ret, HEALTH_MISSING, "the kernel has no seccomp filters with kill_process and user_notif");
}

static void check_landlock(struct cli *cli, const char *data_dir, struct finding *ret)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    (void)cli;
    (void)data_dir;
    if (abi > 0)
        finding_set(ret, HEALTH_OK, "ABI %ld", abi);
    else
        finding_set(ret, HEALTH_MISSING, "not in this kernel (%s)", strerror(errno));
}

/* ---- cgroups ---- */

static bool v1_has(const char *controller)
{
    char path[64];

    snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/tasks", controller);
    return access(path, F_OK) == 0;
}

static void check_controllers(struct cli *cli, const char *data_dir, struct finding *ret)
{
    static const char *const names[] = { "memory", "pids", "cpu" };
    bool v1 = true, v2 = true;

    (void)cli;
    (void)data_dir;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        v1 = v1 && v1_has(names[i]);
        v2 = v2 && (file_has_word("/sys/fs/cgroup/cgroup.controllers", names[i]) ||
                    file_has_word("/sys/fs/cgroup/unified/cgroup.controllers", names[i]));
    }
    if (v1 || v2)
        finding_set(ret, HEALTH_OK, "memory, pids and cpu by %s", v2 ? "v2" : "v1");
    else
        finding_set(ret, HEALTH_MISSING, "memory, pids and cpu are together neither in v2 nor in v1");
}

static void check_cgroup_v2(struct cli *cli, const char *data_dir, struct finding *ret)
{
    (void)cli;
    (void)data_dir;
    if (access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0)
        finding_set(ret, HEALTH_OK, "at /sys/fs/cgroup");
    else if (access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0)
        finding_set(ret, HEALTH_OK, "at /sys/fs/cgroup/unified, beside v1");
    else
        finding_set(ret, HEALTH_MISSING, "no v2 tree is mounted");
}

/* ---- file systems ---- */

/* Loaded, or a module file that would be on first use. */
static bool has_filesystem(const char *name)
{
    struct utsname uts;
    char path[300], text[200];
    FILE *modules;
    bool found = false;

    if (file_has_word("/proc/filesystems", name))
        return true;
    uname(&uts);
    snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", uts.release);
    modules = fopen(path, "re");
    snprintf(text, sizeof(text), "/%s.ko", name);
    while (modules && !found) {
        char line[4096];
        if (!fgets(line, sizeof(line), modules))
            break;
        line[strcspn(line, ":")] = '\0';
        found = strstr(line, text) != NULL;
    }
    if (modules)
        fclose(modules);
    return found;
}

static void check_filesystem(const char *name, struct finding *ret)
{
    if (has_filesystem(name))
        finding_set(ret, HEALTH_OK, "in the kernel");
    else
        finding_set(ret, HEALTH_MISSING, "not in this kernel");
}

static void check_overlay(struct cli *cli, const char *data_dir, struct finding *ret)
{
    (void)cli;
    (void)data_dir;
    check_filesystem("overlay", ret);
}

static void check_erofs(struct cli *cli, const char *data_dir, struct finding *ret)
{
    (void)cli;
    (void)data_dir;
    check_filesystem("erofs", ret);
}

static void check_btrfs(struct cli *cli, const char *data_dir, struct finding *ret)
{
    (void)cli;
    (void)data_dir;
    check_filesystem("btrfs", ret);
}

static void check_fuse(struct cli *cli, const char *data_dir, struct finding *ret)
{
    (void)cli;
    (void)data_dir;
    check_filesystem("fuse", ret);
}

static void check_loop(struct cli *cli, const char *data_dir, struct finding *ret)
{
    (void)cli;
    (void)data_dir;
    if (access("/dev/loop-control", F_OK) == 0)
        finding_set(ret, HEALTH_OK, "/dev/loop-control");
    else
        finding_set(ret, HEALTH_MISSING, "no /dev/loop-control (modprobe loop)");
}

/* Of the nearest parent that exists, since the daemon makes the directory itself. */
static void check_disk_space(struct cli *cli, const char *data_dir, struct finding *ret)
{
    char path[4096], size[SIZE_TEXT_MAX];
    struct statvfs fs;
    uint64_t available;

    (void)cli;
    snprintf(path, sizeof(path), "%s", data_dir);
    while (statvfs(path, &fs) < 0) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) {
            snprintf(path, sizeof(path), "/");
            if (statvfs(path, &fs) < 0)
                fs = (struct statvfs){ 0 };
            break;
        }
        *slash = '\0';
    }
    available = (uint64_t)fs.f_bavail * fs.f_frsize;
    finding_set(ret, available >= ((uint64_t)4 << 30) ? HEALTH_OK : HEALTH_NOTE, "%s free at %s",
                format_size(available, size), path);
}

/* ---- tools, processor, daemon ---- */

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    char candidate[4096];

    for (const char *at = path ? path : "/usr/sbin:/usr/bin:/sbin:/bin"; *at;) {
        size_t n = strcspn(at, ":");
        snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)MIN(n, (size_t)3000), at, program);
        if (n > 0 && access(candidate, X_OK) == 0)
            return true;
        at += n + (at[n] == ':');
    }
    snprintf(candidate, sizeof(candidate), "/usr/sbin/%s", program);
    return access(candidate, X_OK) == 0;
}

static void check_tools(struct cli *cli, const char *data_dir, struct finding *ret)
{
    static const char *const tools[] = { "mkfs.btrfs", "mkfs.erofs", "mmdebstrap" };
    char missing[64] = "";

    (void)cli;
    (void)data_dir;
    for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
        size_t used = strlen(missing);
        if (!in_path(tools[i]))
            snprintf(missing + used, sizeof(missing) - used, " %s", tools[i]);
    }
    if (missing[0])
        finding_set(ret, HEALTH_MISSING, "not installed:%s", missing);
    else
        finding_set(ret, HEALTH_OK, "mkfs.btrfs mkfs.erofs mmdebstrap");
}

static void check_processor(struct cli *cli, const char *data_dir, struct finding *ret)
{
    char smt[16] = "";
    bool several;

    (void)cli;
    (void)data_dir;
    if (read_small_file(AT_FDCWD, "/sys/devices/system/cpu/smt/active", smt, sizeof(smt)) < 0)
        smt[0] = '\0';
    several = smt[0] == '1';
    finding_set(ret, several ? HEALTH_NOTE : HEALTH_OK,
                several ? "two threads share a core (SMT is on)" : "no core is shared by two threads");
}

static void check_daemon(struct cli *cli, const char *data_dir, struct finding *ret)
{
    struct berm_problem problem;

    (void)data_dir;
    if (!cli->client && !cli_client(cli))
        finding_set(ret, HEALTH_MISSING, "the URL or the key cannot be used");
    else if (berm_health(cli->client, &problem) == 0)
        finding_set(ret, HEALTH_OK, "answers");
    else if (problem.kind == BERM_PROBLEM_CANCELLED)
        cli_problem(cli, &problem);
    else
        finding_set(ret, HEALTH_MISSING, "%.190s", problem.message);
}

static const char *text_or(const struct json *object, const char *key, const char *otherwise)
{
    const struct json *value = json_get(object, key);

    return value && value->type == JSON_STRING ? value->string.p : otherwise;
}

/* The address from outside, if the daemon has one that is not its own: an edge, or Cloudflare's. */
static void check_edge(struct cli *cli, const char *data_dir, struct finding *ret)
{
    const char *state, *error, *name, *at;
    const struct json *link = NULL;
    struct berm_problem problem;
    struct berm_error err;
    char *text = NULL;

    (void)data_dir;
    if ((!cli->client && !cli_client(cli)) || berm_link_state(cli->client, &text, &problem) < 0 ||
        json_parse(&cli->arena, str_from(text), JSON_MAX_DEPTH, &link, &err) < 0) {
        finding_set(ret, HEALTH_NOTE, "the daemon does not tell");
        free(text);
        return;
    }
    state = text_or(link, "state", "");
    error = text_or(link, "error", NULL);
    name = text_or(link, "name", "");
    at = text_or(link, "edge", text_or(link, "connector", ""));
    if (!strcmp(state, "off"))
        finding_set(ret, HEALTH_OK, "none: previews and tunnels are served by the daemon itself");
    else if (!strcmp(state, "up"))
        finding_set(ret, HEALTH_OK, "connected to %.100s%s%.40s", at, name[0] ? " as " : "", name);
    else
        finding_set(ret, HEALTH_MISSING, "%.20s, %.100s%s%.100s", state, at, error ? ": " : "", error ? error : "");
    free(text);
}

const struct check doctor_checks[] = {
    { "kernel", "sandboxes cannot be made", true, true, check_kernel },
    { "namespaces", "sandboxes cannot be made", true, true, check_namespaces },
    { "user_namespace", "root in a sandbox would be root here", true, true, check_user_namespaces },
    { "cgroup_limits", "memory, processes and CPU could not be limited", true, true, check_controllers },
    { "cgroup_kill", "sandboxes are ended by killing processes one by one", false, true, check_cgroup_v2 },
    { "seccomp", "the system call filter is a required layer", true, true, check_seccomp },
    { "landlock", "one of the isolation layers is missing", false, true, check_landlock },
    { "overlay", "root file systems cannot be made", true, true, check_overlay },
    { "erofs", "images cannot be mounted", true, true, check_erofs },
    { "btrfs", "disk space could not be limited", true, true, check_btrfs },
    { "loop_devices", "the disk of the sandboxes cannot be mounted", true, true, check_loop },
    { "fuse", "bucket mounts inside sandboxes do not work", false, false, check_fuse },
    { "tools", "images or the first disk cannot be made", false, false, check_tools },
    { "disk_space", "sandboxes may find the disk full", false, false, check_disk_space },
    { "processor", "sandboxes on one core can watch each other's timing", false, false, check_processor },
    { "daemon", "berm has nobody to ask for sandboxes", false, false, check_daemon },
    { "edge", "previews and tunnels cannot be reached from outside", false, false, check_edge },
    { 0 },
};
