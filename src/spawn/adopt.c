/*
 * adopt.c - what survives the worker: one <key>.meta per sandbox in the run directory, and taking over from it.
 *
 * The run directory belongs to root, so a meta file says what an earlier worker wrote. It is believed as far as it
 * goes: a process is the sandbox's only if its start time is the recorded one (pids are reused) and it sits in the
 * sandbox's cgroup.
 */
#include "worker.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/sys.h"
#include "disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#define META_MAGIC     UINT32_C(0x6d726562)
#define META_VERSION   2
#define SWEEP_TRIES    5000
#define SWEEP_PAUSE_NS 1000000

struct meta {
    uint32_t magic;
    uint32_t version;
    uint64_t key;
    uint64_t start_time;
    int32_t pid;
    uint32_t index;
    uint32_t exited;
    uint32_t end_reason;
    int32_t exit_status;
    uint32_t backend;
    uint32_t network;
    uint32_t egress_moved;
    struct spawn_limits limits;
    uint8_t image_digest[32];
    char boot_id[40];
};

static void meta_name(uint64_t key, char name[32], const char *suffix)
{
    snprintf(name, 32, "%016llx.meta%s", (unsigned long long)key, suffix);
}

/* --- writing --- */

/* Renamed into place whole. Not synced: no sandbox outlives a power failure. */
int meta_write(const struct sandbox *s)
{
    struct meta m = {
        .magic = META_MAGIC,
        .version = META_VERSION,
        .key = s->key,
        .start_time = s->start_time,
        .pid = s->pid,
        .index = s->index,
        .exited = s->phase == PHASE_EXITED,
        .end_reason = s->end_reason,
        .exit_status = s->exit_status,
        .backend = s->backend,
        .network = s->network,
        .egress_moved = s->egress_moved,
        .limits = s->limits,
    };
    int run = s->worker->stage.run_fd;
    _cleanup_close_ int fd = -EBADF;
    char name[32], temporary[32];

    memcpy(m.image_digest, s->image_digest, sizeof(m.image_digest));
    memcpy(m.boot_id, s->worker->boot_id, sizeof(m.boot_id));
    meta_name(s->key, name, "");
    meta_name(s->key, temporary, ".new");
    fd = openat(run, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write_all(fd, &m, sizeof(m)) < 0)
        return -1;
    FAULT_POINT("spawn.meta.written");
    return renameat(run, temporary, run, name);
}

void meta_remove(const struct sandbox *s)
{
    char name[32];

    meta_name(s->key, name, "");
    unlinkat(s->worker->stage.run_fd, name, 0);
    meta_name(s->key, name, ".new");
    unlinkat(s->worker->stage.run_fd, name, 0);
}

#define STAT_START_TIME 22
#define STAT_EXIT_CODE  52

/* A field of /proc/<pid>/stat. The second one is a name in parentheses that may hold anything, also ")". */
static int read_stat_field(pid_t pid, int wanted, uint64_t *ret)
{
    char path[32], text[1024];
    const char *at;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (read_small_file(AT_FDCWD, path, text, sizeof(text)) < 0)
        return -1;
    at = strrchr(text, ')');
    for (int field = 2; at && field < wanted; field++)
        at = strchr(at + 1, ' ');
    if (!at || str_to_u64((struct str){ at + 1, strcspn(at + 1, " \n") }, ret) < 0) {
        errno = EPROTO;
        return -1;
    }
    return 0;
}

int process_start_time(pid_t pid, uint64_t *ret)
{
    return read_stat_field(pid, STAT_START_TIME, ret);
}

/* --- exits of adopted processes, which are nobody's children here --- */

#ifndef PIDFD_GET_INFO
struct pidfd_info {
    uint64_t mask;
    uint64_t cgroupid;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
#define PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_info)
#endif
#ifndef PIDFD_INFO_EXIT
#define PIDFD_INFO_EXIT (UINT64_C(1) << 3) /* Linux 6.15 */
#endif

/*
 * Until its parent has reaped it, the kernel tells the status in the stat file (to us, as its user namespace is
 * ours); afterwards, where it is new enough, through the pidfd, and the keeper if that was the parent. As long as a
 * signal can be sent the process was not reaped, and what the file said was about it.
 */
static bool find_exit_status(struct worker *w, pid_t pid, int pidfd, int *ret)
{
    struct pidfd_info info = { .mask = PIDFD_INFO_EXIT };
    uint64_t status;

    if (read_stat_field(pid, STAT_EXIT_CODE, &status) == 0 && pidfd_signal(pidfd, 0) == 0) {
        *ret = (int)status;
        return true;
    }
    if (ioctl(pidfd, PIDFD_GET_INFO, &info) == 0 && info.mask & PIDFD_INFO_EXIT) {
        *ret = info.exit_code;
        return true;
    }
    return ends_take(&w->ends, pid, ret);
}

static void on_adopted_exit(struct loop_io *io, uint32_t events)
{
    struct sandbox *s = container_of(io, struct sandbox, pidfd_io);
    int status;

    (void)events;
    loop_io_remove(s->worker->loop, io);
    if (find_exit_status(s->worker, s->pid, s->pidfd, &status))
        sandbox_reaped(s, status);
    else
        sandbox_lost(s);
}

/* --- taking over --- */

static bool meta_plausible(const struct worker *w, const struct meta *m, uint64_t key)
{
    return m->magic == META_MAGIC && m->version == META_VERSION && m->key == key && key != 0 &&
           memcmp(m->boot_id, w->boot_id, sizeof(m->boot_id)) == 0;
}

/* A pidfd of the recorded process, which may have ended by now, or -1 when it is gone. */
static int open_process(const struct meta *m)
{
    _cleanup_close_ int pidfd = m->pid > 1 && !m->exited ? pidfd_open_pid(m->pid) : -EBADF;
    uint64_t start_time;

    /* Asked with the pidfd held, so that the answers are about the process it names. */
    if (pidfd < 0 || process_start_time(m->pid, &start_time) < 0 || start_time != m->start_time ||
        pidfd_signal(pidfd, 0) < 0)
        return -1;
    return TAKE_FD(pidfd);
}

static bool has_ended(int pidfd)
{
    return poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 0) > 0;
}

static void set_ended(struct sandbox *s, const struct meta *m, int pidfd)
{
    char name[SLOT_NAME_SIZE];
    int wait_status;

    slot_name(s->index, name);
    s->phase = PHASE_EXITED;
    s->end_reason = SPAWN_END_UNKNOWN;
    if (m->exited) {
        s->end_reason = m->end_reason;
        s->exit_status = m->exit_status;
    } else if (find_exit_status(s->worker, m->pid, pidfd, &wait_status)) {
        sandbox_set_end(s, wait_status);
    } else if (cgroup_oom_kills(&s->worker->cgroups, name) > 0) {
        s->end_reason = SPAWN_END_OOM;
    }
}

static int adopt(struct worker *w, const struct meta *m)
{
    _cleanup_close_ int pidfd = open_process(m);
    char name[SLOT_NAME_SIZE];
    bool in_group, ended;
    struct sandbox *s;

    if (!range_take(&w->ranges, m->index))
        return -1;
    s = table_add(w, m->key);
    if (!s)
        return -1;
    s->index = m->index;
    s->start_time = m->start_time;
    s->backend = m->backend;
    s->network = m->network;
    s->egress_moved = m->egress_moved;
    s->limits = m->limits;
    memcpy(s->image_digest, m->image_digest, sizeof(s->image_digest));
    s->pidfd = -EBADF;
    slot_name(s->index, name);
    in_group = cgroup_has_process(&w->cgroups, name, m->pid); /* asked first: what has ended is in none */
    ended = pidfd < 0 || has_ended(pidfd);
    if (ended || !in_group) {
        set_ended(s, m, ended ? pidfd : -EBADF);
        return 0;
    }
    s->pidfd = TAKE_FD(pidfd);
    s->phase = PHASE_RUNNING;
    table_set_pid(s, m->pid);
    /* An earlier worker may have died between changing them and recording that. */
    if (control_restore_limits(s) < 0)
        log_warn("limits_not_restored", "reason", strerror(errno));
    /* For its lock. An image that is gone all the same changes nothing for what runs on it. */
    if (w->images.images_fd >= 0)
        s->image = image_use(&w->images, m->image_digest, NULL);
    return loop_io_add(w->loop, &s->pidfd_io, s->pidfd, EPOLLIN, on_adopted_exit);
}

static bool key_of_file(const char *name, const char *suffix, uint64_t *ret)
{
    uint8_t bytes[8];

    if (strlen(name) != 16 + strlen(suffix) || strcmp(name + 16, suffix) != 0)
        return false;
    if (hex_decode((struct str){ name, 16 }, bytes, sizeof(bytes)) < 0)
        return false;
    *ret = 0;
    for (int i = 0; i < 8; i++)
        *ret = *ret << 8 | bytes[i];
    return true;
}

static void adopt_file(struct worker *w, const char *name)
{
    struct meta m;
    uint64_t key;
    _cleanup_close_ int fd = -EBADF;

    if (!key_of_file(name, ".meta", &key))
        return;
    fd = openat(w->stage.run_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && read_to_end(fd, &m, sizeof(m)) == (ssize_t)sizeof(m) && meta_plausible(w, &m, key) &&
        adopt(w, &m) == 0)
        return;
    /* From before a reboot, or damaged. What it named is swept away by its number, as nobody claims it. */
    log_warn("meta_dropped", "file", name);
    unlinkat(w->stage.run_fd, name, 0);
}

static DIR *open_directory(int dirfd)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

/* --- sweeping --- */

struct sweep {
    struct worker *w;
    uint64_t found[RANGE_BLOCKS * RANGE_BLOCK / 64];
};

static void note_slot(const char *name, void *data)
{
    struct sweep *sweep = data;
    uint64_t index;

    if (name[0] == 's' && str_to_u64(str_from(name + 1), &index) == 0 && index < RANGE_BLOCKS * RANGE_BLOCK)
        sweep->found[index / 64] |= UINT64_C(1) << index % 64;
}

static void note_bundles(struct sweep *sweep)
{
    if (sweep->w->oci.dir_fd >= 0)
        oci_each(&sweep->w->oci, note_slot, sweep);
}

static void note_subvolumes(struct sweep *sweep)
{
    DIR *dir = open_directory(sweep->w->stage.disk_fd);
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir)))
        note_slot(entry->d_name, sweep);
    closedir(dir);
}

static void sweep_files(struct worker *w)
{
    DIR *dir = open_directory(w->stage.run_fd);
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        uint64_t key;
        uint32_t index;
        bool slot_socket = strncmp(entry->d_name, ".s", 2) == 0;
        bool half_meta = key_of_file(entry->d_name, ".meta.new", &key);
        bool socket = key_of_file(entry->d_name, ".sock", &key) && !table_find(w, key);
        bool record = fuse_record_index(entry->d_name, &index) && !range_used(&w->ranges, index);
        if (slot_socket || half_meta || socket || record)
            unlinkat(w->stage.run_fd, entry->d_name, 0);
    }
    closedir(dir);
}

/* Kills what runs without a meta file (a worker crashed between clone and writing it) and removes its parts. */
static int sweep_slot(struct worker *w, uint32_t index, struct berm_error *err)
{
    const struct timespec pause = { .tv_nsec = SWEEP_PAUSE_NS };
    char name[SLOT_NAME_SIZE];

    slot_name(index, name);
    for (int i = 0; i < SWEEP_TRIES; i++) {
        cgroup_freeze(&w->cgroups, name, false);
        cgroup_kill(&w->cgroups, name);
        oci_sweep(&w->oci, name);
        if (slot_remove(&w->slots, index) == 0)
            return 0;
        if (errno != EBUSY)
            break;
        nanosleep(&pause, NULL);
    }
    return berm_fail(err, BERM_E_SYSTEM, errno, "remove what is left of %s", name);
}

static int sweep_slots(struct worker *w, struct berm_error *err)
{
    struct sweep sweep = { .w = w };

    cgroup_each(&w->cgroups, note_slot, &sweep);
    note_subvolumes(&sweep);
    note_bundles(&sweep);
    for (uint32_t index = 0; index < RANGE_BLOCKS * RANGE_BLOCK; index++) {
        uint64_t bit = UINT64_C(1) << index % 64;
        bool adopted = w->ranges.used[index / 64] & bit;
        if (!adopted && sweep.found[index / 64] & bit && sweep_slot(w, index, err) < 0)
            return -1;
    }
    return 0;
}

int adopt_all(struct worker *w, struct berm_error *err)
{
    DIR *dir = open_directory(w->stage.run_fd);
    struct dirent *entry;

    if (!dir)
        return berm_fail(err, BERM_E_SYSTEM, errno, "read the run directory");
    while ((entry = readdir(dir)))
        adopt_file(w, entry->d_name);
    closedir(dir);
    FAULT_POINT("spawn.adopt.taken");
    sweep_files(w);
    return sweep_slots(w, err);
}
