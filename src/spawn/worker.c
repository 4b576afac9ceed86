#include "worker.h"

#include "base/log.h"
#include "base/sys.h"
#include "caps.h"
#include "fuse.h"
#include "landlock.h"
#include "namespaces.h"
#include "rootfs.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define IMAGE_IDLE_MS 60000
#define RETRY_MS      5    /* cleaning that found a cgroup busy */
#define BACK_OFF_MS   1000 /* after a slot could not be prepared */
#define QUIET_MS      10   /* no slot is made so soon after a creation, while enough are ready */
#define DRAIN_MS      5000

/* --- answers --- */

void worker_reply(struct worker *w, struct spawn_reply *reply, uint32_t op, uint64_t serial, uint64_t key)
{
    reply->version = SPAWN_WIRE_VERSION;
    reply->op = op;
    reply->serial = serial;
    reply->key = key;
    peer_send(&w->peer, reply, NULL, 0);
}

void worker_reply_error(struct worker *w, uint32_t op, uint64_t serial, uint64_t key, const struct berm_error *err)
{
    struct spawn_reply reply = { .error = err->errnum ? err->errnum : EIO };

    snprintf(reply.message, sizeof(reply.message), "%.*s", (int)sizeof(reply.message) - 1, err->message);
    worker_reply(w, &reply, op, serial, key);
}

/* --- idle work --- */

void worker_schedule(struct worker *w, uint64_t after_ms)
{
    if (!loop_timer_armed(&w->work) || w->work.due_ms > loop_now_ms(w->loop) + after_ms)
        loop_timer_start(w->loop, &w->work, after_ms);
}

static void count_ending(struct sandbox *s, void *data)
{
    bool *left = data;

    *left |= s->phase == PHASE_ENDING || s->phase == PHASE_CLEANING;
}

static void stop_if_drained(struct worker *w)
{
    bool left = false;

    table_each(w, count_ending, &left);
    if (!left)
        loop_stop(w->loop);
}

/*
 * A slot takes a CPU for more than a millisecond, and the locks of mounts, cgroups and network namespaces that the
 * child of a creation needs too: whoever waits for that one goes first.
 */
static uint64_t slots_due_ms(const struct worker *w)
{
    bool enough = w->slots.ready_count > w->slots.ready_wanted / 4;

    return enough ? MAX(w->slots_not_before_ms, w->last_create_ms + QUIET_MS) : w->slots_not_before_ms;
}

static void prepare_slots(struct worker *w)
{
    uint64_t now_ms = loop_now_ms(w->loop), due_ms = slots_due_ms(w);
    struct berm_error err;
    int rc;

    if (now_ms < due_ms) {
        worker_schedule(w, due_ms - now_ms);
        return;
    }
    rc = slot_prepare(&w->slots, &err);
    if (rc < 0) {
        log_warn("slot_failed", "reason", err.message);
        w->slots_not_before_ms = now_ms + BACK_OFF_MS;
    }
    if (rc != 0)
        worker_schedule(w, rc < 0 ? BACK_OFF_MS : 0);
}

/* A little at a time: with a delay of 0 the loop looks for requests in between. */
static void on_work(struct loop_timer *timer)
{
    struct worker *w = container_of(timer, struct worker, work);

    if (w->cleaning) {
        bool progress = sandbox_clean_one(w);
        worker_schedule(w, progress ? 0 : RETRY_MS);
        if (!loop_timer_armed(&w->trim))
            loop_timer_start(w->loop, &w->trim, IMAGE_IDLE_MS);
    } else if (w->draining) {
        stop_if_drained(w);
    } else {
        prepare_slots(w);
    }
}

static void on_trim(struct loop_timer *timer)
{
    struct worker *w = container_of(timer, struct worker, trim);

    if (image_set_trim(&w->images, loop_now_ms(w->loop), IMAGE_IDLE_MS))
        loop_timer_start(w->loop, &w->trim, IMAGE_IDLE_MS);
}

/* --- children --- */

/* Mount calls of the sandboxes that it served are ENOSYS from now on; what is mounted stays. */
static void replace_broker(struct worker *w)
{
    struct berm_error err;

    log_error("broker_ended");
    close_fd(&w->broker.socket_fd);
    w->broker.pid = 0;
    if (broker_start(&w->fuse, &w->broker, &err) < 0)
        log_error("broker_not_started", "reason", err.message);
}

/* Reaped only when it has been dealt with: if we die before that, the keeper inherits it and knows how it ended. */
static void on_signal(struct loop *loop, const struct signalfd_siginfo *signal, void *data)
{
    struct worker *w = data;
    siginfo_t info = { .si_pid = 0 };

    (void)loop;
    if (signal->ssi_signo != SIGCHLD)
        return;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
        struct sandbox *s = table_find_pid(w, info.si_pid);
        if (s)
            sandbox_reaped(s, end_wait_status(&info));
        else if (info.si_pid == w->broker.pid)
            replace_broker(w);
        waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
        info.si_pid = 0;
    }
}

/* --- requests --- */

static void answer_hello(struct worker *w, const struct spawn_request *r)
{
    struct spawn_reply reply = { 0 };

    reply.hello = (struct spawn_hello){
        .features = w->features | (w->images.from_file ? SPAWN_FEATURE_EROFS_FILE : 0),
        .landlock_abi = w->landlock_abi,
        .sandboxes = w->count,
        .ready_slots = w->slots.ready_count,
        .ceiling = w->policy.ceiling,
    };
    worker_reply(w, &reply, r->op, r->serial, 0);
}

static void list_one(struct sandbox *s, void *data)
{
    struct worker *w = data;
    struct spawn_reply event = { .event = SPAWN_EVENT_SANDBOX };

    if (s->phase != PHASE_RUNNING && s->phase != PHASE_EXITED)
        return;
    sandbox_describe(s, &event.sandbox);
    worker_reply(w, &event, SPAWN_OP_EVENT, 0, s->key);
}

static void answer_list(struct worker *w, const struct spawn_request *r)
{
    struct spawn_reply reply = { 0 };

    table_each(w, list_one, w);
    worker_reply(w, &reply, r->op, r->serial, 0);
}

static void answer_prepare(struct worker *w, const struct spawn_request *r)
{
    struct spawn_reply reply = { 0 };

    if (slot_set_wanted(&w->slots, r->prepare.slots) < 0)
        reply.error = ENOMEM;
    else
        worker_schedule(w, 0);
    worker_reply(w, &reply, r->op, r->serial, 0);
}

static void refuse(struct worker *w, const struct spawn_request *r, int errnum, const char *message)
{
    struct berm_error err;

    berm_fail(&err, BERM_E_SYSTEM, errnum, "%s", message);
    worker_reply_error(w, r->op, r->serial, r->key, &err);
}

/* Operations on a process. */
static void handle_running(struct worker *w, struct sandbox *s, const struct spawn_request *r)
{
    if (s->phase != PHASE_RUNNING) {
        refuse(w, r, ESRCH, "the sandbox does not run");
        return;
    }
    switch (r->op) {
    case SPAWN_OP_SET_LIMITS:
        control_set_limits(w, s, r);
        break;
    case SPAWN_OP_FREEZE:
        control_freeze(w, s, r);
        break;
    case SPAWN_OP_EGRESS:
        control_egress(w, s, r->serial);
        break;
    case SPAWN_OP_VOLUME_MOUNT:
        volume_mount(w, s, r);
        break;
    default:
        control_socket(w, s, r);
    }
}

static void handle_keyed(struct worker *w, const struct spawn_request *r)
{
    struct sandbox *s = table_find(w, r->key);

    if (!s || s->phase == PHASE_ENDING || s->phase == PHASE_CLEANING) {
        refuse(w, r, ENOENT, "no such sandbox");
        return;
    }
    switch (r->op) {
    case SPAWN_OP_DESTROY:
        sandbox_destroy(w, s, r->serial);
        break;
    case SPAWN_OP_KILL:
        sandbox_kill(w, s, r->serial);
        break;
    case SPAWN_OP_STAT:
        control_stat(w, s, r->serial);
        break;
    case SPAWN_OP_COMMIT:
        commit_begin(w, s, r);
        break;
    default:
        handle_running(w, s, r);
    }
}

static void handle(struct worker *w, const struct spawn_request *r)
{
    switch (r->op) {
    case SPAWN_OP_HELLO:
        answer_hello(w, r);
        break;
    case SPAWN_OP_LIST:
        answer_list(w, r);
        break;
    case SPAWN_OP_PREPARE:
        answer_prepare(w, r);
        break;
    case SPAWN_OP_CREATE:
        sandbox_create(w, r);
        break;
    case SPAWN_OP_VOLUME_CREATE:
        volume_create(w, r);
        break;
    case SPAWN_OP_VOLUME_DELETE:
        volume_delete(w, r);
        break;
    case SPAWN_OP_VOLUME_LIST:
        volume_list(w, r);
        break;
    case SPAWN_OP_IMAGE_DELETE:
        commit_remove(w, r);
        break;
    case SPAWN_OP_IMAGE_LIST:
        commit_list(w, r);
        break;
    default:
        handle_keyed(w, r);
    }
}

static void on_request(struct peer *peer, const void *message, size_t n)
{
    struct worker *w = container_of(peer, struct worker, peer);
    struct spawn_request request = { 0 };
    struct berm_error err;

    if (spawn_request_check(message, n, &w->policy, &request, &err) == 0)
        handle(w, &request);
    else
        worker_reply_error(w, request.op, request.serial, request.key, &err);
}

/* --- the end --- */

static void start_draining(struct worker *w)
{
    w->draining = true;
    w->slots.ready_wanted = 0;
    slot_remove_ready(&w->slots);
    loop_timer_start(w->loop, &w->work, 0);
    loop_timer_start(w->loop, &w->deadline, DRAIN_MS);
}

static void on_daemon_gone(struct peer *peer)
{
    start_draining(container_of(peer, struct worker, peer));
}

static void on_drain_deadline(struct loop_timer *timer)
{
    (void)timer;
    exit(0); /* what is left has its meta file: the next worker takes it away */
}

static void end_one(struct sandbox *s, void *data)
{
    (void)data;
    sandbox_end(s);
}

/* --- the beginning --- */

static int read_boot_id(struct worker *w, struct berm_error *err)
{
    if (read_small_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", w->boot_id, sizeof(w->boot_id)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "read the boot id");
    return 0;
}

/* By doing it: a kernel may lack tproxy, or a module of it. */
static bool egress_supported(const struct worker *w)
{
    struct egress_sockets sockets;
    _cleanup_close_ int netns = netns_new(w->stage.home_netns_fd, &sockets);

    egress_close(&sockets);
    return netns >= 0;
}

static void set_features(struct worker *w, bool simple_quota)
{
    const unsigned all = (1u << CGROUP_CONTROLLERS) - 1;

    w->landlock_abi = landlock_abi();
    w->features = SPAWN_FEATURE_DISK_QUOTA | (simple_quota ? SPAWN_FEATURE_SIMPLE_QUOTA : 0) |
                  (w->landlock_abi >= LANDLOCK_ABI_MIN ? SPAWN_FEATURE_LANDLOCK : 0) |
                  (w->cgroups.v2_controllers == all ? SPAWN_FEATURE_CGROUP_V2 : 0) |
                  (cgroup_kill_supported(&w->cgroups, ".") ? SPAWN_FEATURE_CGROUP_KILL : 0);
    w->features |= egress_supported(w) ? SPAWN_FEATURE_EGRESS : 0;
    w->images.from_file = image_file_mounts_supported();
}

static void set_policy(struct worker *w)
{
    struct rlimit files;

    w->policy = (struct spawn_policy){ .ceiling = w->options->ceiling,
                                       .oci = w->options->oci_runtime != NULL,
                                       .egress = w->features & SPAWN_FEATURE_EGRESS };
    /* A child can only lower its limit. */
    if (w->policy.ceiling.nofile == 0 && getrlimit(RLIMIT_NOFILE, &files) == 0)
        w->policy.ceiling.nofile = (uint32_t)MIN(files.rlim_max, (rlim_t)INT32_MAX);
}

static void on_image_unmount(struct image_set *set, const struct image *image)
{
    slot_forget_image(&container_of(set, struct worker, images)->slots, image);
}

static void set_slot_maker(struct worker *w)
{
    w->slots = (struct slot_maker){
        .ranges = &w->ranges,
        .cgroups = &w->cgroups,
        .stage = &w->stage,
        .owner_uid = w->options->owner_uid,
        .owner_gid = w->options->owner_gid,
        .usual_limits = { .memory_bytes = UINT64_C(1) << 30,
                          .disk_bytes = UINT64_C(1) << 30,
                          .cpu_millis = 1000,
                          .pids = 512,
                          .nofile = 4096 },
    };
}

static int start_loop(struct worker *w, struct berm_error *err)
{
    sigset_t signals;

    w->loop = loop_new();
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    if (!w->loop || loop_signals(w->loop, &signals, on_signal, w) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the event loop");
    loop_timer_init(&w->work, on_work);
    loop_timer_init(&w->trim, on_trim);
    loop_timer_init(&w->deadline, on_drain_deadline);
    return 0;
}

/*
 * What the worker never needs again. An OCI runtime would inherit the filter, and needs more calls than any list of
 * ours could foresee.
 */
static int confine(bool filtered, struct berm_error *err)
{
    static struct filter_program filter;

    if (filtered && filter_compile(FILTER_WORKER, &filter, err) < 0)
        return -1;
    /* The keyrings of whoever started us stay behind. */
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
        return berm_fail(err, BERM_E_SYSTEM, errno, "join a new session keyring");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "confine the worker");
    if (caps_drop_to_worker() < 0 || (filtered && filter_install(&filter) < 0))
        return berm_fail(err, BERM_E_SYSTEM, errno, "confine the worker");
    return 0;
}

/* A score below 0 is the operator's protection for the daemon, which no sandbox must inherit. */
static bool protected_from_oom(void)
{
    char score[16];

    return read_small_file(AT_FDCWD, "/proc/self/oom_score_adj", score, sizeof(score)) > 0 && score[0] == '-';
}

static int start(struct worker *w, const struct worker_setup *setup, struct berm_error *err)
{
    const struct spawn_options *o = w->options;
    bool serve = setup->socket_fd >= 0, filtered;

    w->ends.fd = setup->ends_fd;
    w->cgroups = setup->cgroups;
    w->ranges = setup->ranges;
    w->imager = (struct imager){ .socket_fd = -EBADF };
    snprintf(w->image_id, sizeof(w->image_id), "%s", setup->id);
    if (serve && imager_start(&setup->disk, o->images, setup->id, &w->imager, err) < 0)
        return -1;
    if (oci_open(o->oci_runtime, setup->data, w->cgroups.path, &w->oci, err) < 0)
        return -1;
    filtered = !w->oci.runtime;
    if (filter_compile(filtered ? FILTER_CHILD : FILTER_WHOLE, &w->filter, err) < 0 || start_loop(w, err) < 0)
        return -1;
    if (stage_enter(setup->data, &setup->disk, serve ? o->images : NULL, serve ? o->agent : NULL, &w->stage, err) <
        0)
        return -1;
    if (serve && w->oci.runtime && oci_install_agent(&w->oci, w->stage.agent_fd, err) < 0)
        return -1;
    w->images.images_fd = w->stage.images_fd;
    w->images.on_unmount = on_image_unmount;
    w->fuse = (struct fuse_host){ .run_fd = w->stage.run_fd, .control_fd = fuse_control_open() };
    if (w->fuse.control_fd < 0)
        log_warn("no_fuse", "reason", strerror(errno));
    w->figures_fd = disk_figures_open(w->stage.disk_fd);
    if (w->figures_fd < 0)
        log_warn("no_disk_figures", "reason", strerror(errno));
    set_features(w, setup->disk.simple_quota);
    set_policy(w);
    set_slot_maker(w);
    w->oom_protected = protected_from_oom();
    procfs_probe();
    rootfs_probe();
    if (read_boot_id(w, err) < 0 || adopt_all(w, err) < 0 || confine(filtered, err) < 0)
        return -1;
    w->broker = (struct broker){ .socket_fd = -EBADF };
    if (filtered && serve && w->fuse.control_fd >= 0 && broker_start(&w->fuse, &w->broker, err) < 0)
        return -1;
    w->peer.on_request = on_request;
    w->peer.on_end = on_daemon_gone;
    if (commit_watch(w) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "watch the imager");
    if (serve && peer_start(&w->peer, w->loop, setup->socket_fd) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "watch the daemon's socket");
    return 0;
}

int worker_run(const struct spawn_options *options, const struct worker_setup *setup)
{
    static struct worker worker;
    struct berm_error err;
    int rc;

    worker.options = options;
    if (start(&worker, setup, &err) < 0) {
        log_error("start_failed", "reason", err.message);
        return 1;
    }
    if (setup->socket_fd < 0) {
        table_each(&worker, end_one, NULL);
        start_draining(&worker);
    }
    rc = loop_run(worker.loop) < 0 ? 1 : 0;
    broker_stop(&worker.broker);
    return rc;
}
