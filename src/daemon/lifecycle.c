/*
 * lifecycle.c - see lifecycle.h.
 *
 * A start runs through: the instance asked for (CREATE) or taken from the pool, and the row with its key committed;
 * one from the pool given its limits (SET_LIMITS); the agent told its environment if there is any; running.
 * Whatever fails on the way ends the instance. In `state` CREATING exactly one of these steps is pending.
 *
 * The commit comes behind the request to berm-spawn, which works meanwhile: if we die in between, nobody has been
 * told of the sandbox, and adoption ends what no row claims. One from the pool is claimed first: until its row is
 * changed a later daemon would give it to somebody else. Where the request only asks its agent, a note in a file is
 * the claim (store_claim), the agent works meanwhile, and lifecycle_settle() commits behind this batch of events,
 * or as soon as anything else is to be done or answered.
 */
#include "daemon/lifecycle.h"

#include "base/fault.h"
#include "base/log.h"
#include "daemon/agent_configure.h"
#include "daemon/docker/docker.h"
#include "daemon/edge/routes.h"
#include "daemon/event_feed.h"
#include "daemon/link/connector.h"
#include "daemon/pool.h"
#include "daemon/sandbox_egress.h"
#include "daemon/settings.h"

static void start(struct sandbox *sandbox, bool asks_agent);

/* --- those who wait --- */

static void finish_waits(struct sandbox *sandbox, const struct berm_error *err)
{
    struct list waits;
    struct list *node;

    list_init(&waits);
    list_splice(&waits, &sandbox->waits);
    sandbox_ref(sandbox);
    while ((node = list_shift(&waits))) {
        struct sandbox_wait *wait = container_of(node, struct sandbox_wait, node);
        struct berm_error ended;

        if (err)
            wait->done(wait, NULL, err);
        else if (sandbox->state == SANDBOX_RUNNING && wait->configure && !wait->created)
            settings_apply(sandbox, wait); /* this PUT came while another call made the sandbox */
        else if (sandbox->state == SANDBOX_RUNNING)
            wait->done(wait, sandbox, NULL);
        else { /* one of the waits before deleted it */
            berm_fail(&ended, BERM_E_SANDBOX_DIED, 0, "the sandbox ended before it could be used");
            wait->done(wait, NULL, &ended);
        }
    }
    sandbox_unref(sandbox);
}

/* --- the end of an instance --- */

static void forget_sandbox(struct sandbox *sandbox)
{
    sandbox->state = SANDBOX_DESTROYED;
    registry_remove(&sandbox->daemon->registry, sandbox);
}

/* Everything in memory that belongs to the running instance. Its key, to be destroyed once the store is right. */
static uint64_t detach_instance(struct sandbox *sandbox, enum end_reason reason, int exit_status)
{
    struct daemon *daemon = sandbox->daemon;
    uint64_t key = sandbox->row.key;

    agent_configure_cancel(sandbox->configure_call);
    sandbox->configure_call = NULL;
    free_ptr(&sandbox->environment);
    if (sandbox->state == SANDBOX_CREATING || sandbox->change)
        spawn_link_forget(daemon->spawn, sandbox);
    loop_timer_stop(daemon->loop, &sandbox->idle_timer);
    connector_end_tunnels(daemon->connector, str_from(sandbox->row.id));
    instance_drop_egress(daemon, &sandbox->instance);
    instance_unregister(&daemon->registry, &sandbox->instance);
    if (sandbox->link) {
        agent_link_close(sandbox->link, reason, exit_status);
        agent_link_unref(sandbox->link);
        sandbox->link = NULL;
    }
    settings_abandon(sandbox);
    if (sandbox->container)
        docker_sandbox_ended(sandbox, reason, exit_status);
    if (sandbox->state == SANDBOX_CREATING)
        daemon->starts_pending--;
    sandbox->starting = false;
    sandbox->row.key = 0;
    return key;
}

static void end_instance(struct sandbox *sandbox, enum sandbox_state state, enum end_reason reason, int exit_status,
                         const char *event)
{
    struct daemon *daemon = sandbox->daemon;
    uint64_t key = detach_instance(sandbox, reason, exit_status);
    char detail[96];
    struct berm_error err;

    sandbox->state = sandbox->row.state = state;
    sandbox->row.end_reason = reason;
    sandbox->row.exit_status = exit_status;
    end_reason_describe(reason, exit_status, detail, sizeof(detail));
    /* If this fails, the row still claims the key; adoption finds nobody there and writes END_LOST. */
    if (feed_commit(sandbox, 0, event, reason, detail, &err) < 0)
        log_error("store.failed", "sandbox", sandbox->row.id, "error", err.message);
    FAULT_POINT("end.stored");
    instance_destroy(daemon, key);
    pool_room(daemon->pool);
}

void lifecycle_ended(struct sandbox *sandbox, enum end_reason reason, int exit_status, const char *event)
{
    char why[96];
    struct berm_error err;

    sandbox_ref(sandbox);
    lifecycle_settle(sandbox->daemon);
    if (!sandbox->row.key) { /* that has ended it */
        sandbox_unref(sandbox);
        return;
    }
    end_reason_describe(reason, exit_status, why, sizeof(why));
    log_info("sandbox.ended", "sandbox", sandbox->row.id, "generation", log_num(sandbox->row.generation), "reason",
             why);
    end_instance(sandbox, SANDBOX_STOPPED, reason, exit_status, event);
    sandbox->daemon->metrics.ends[METRIC_END_DIED]++;
    berm_fail(&err, BERM_E_SANDBOX_DIED, 0, "the sandbox ended: %s", why);
    finish_waits(sandbox, &err);
    sandbox_unref(sandbox);
}

/* --- sleep --- */

static void on_idle(struct loop_timer *timer)
{
    struct sandbox *sandbox = container_of(timer, struct sandbox, idle_timer);
    uint64_t now = loop_now_ms(sandbox->daemon->loop);
    uint64_t due = sandbox->used_ms + sandbox->row.sleep_after_ms;

    if (sandbox->state != SANDBOX_RUNNING || sandbox->row.keep_alive)
        return;
    if (sandbox->in_use || sandbox->change)
        due = now + sandbox->row.sleep_after_ms;
    if (due > now) {
        loop_timer_start(sandbox->daemon->loop, timer, due - now);
        return;
    }
    FAULT_POINT("sleep.due");
    log_info("sandbox.sleeps", "sandbox", sandbox->row.id, "generation", log_num(sandbox->row.generation));
    sandbox->daemon->metrics.ends[METRIC_END_SLEPT]++;
    end_instance(sandbox, SANDBOX_SLEEPING, END_SLEPT, 0, "slept");
}

void lifecycle_arm_idle(struct sandbox *sandbox)
{
    if (!sandbox->idle_timer.callback)
        loop_timer_init(&sandbox->idle_timer, on_idle);
    if (sandbox->state == SANDBOX_RUNNING && !sandbox->row.keep_alive)
        loop_timer_start(sandbox->daemon->loop, &sandbox->idle_timer, sandbox->row.sleep_after_ms);
    else
        loop_timer_stop(sandbox->daemon->loop, &sandbox->idle_timer);
}

static void touch(struct sandbox *sandbox)
{
    sandbox->used_ms = loop_now_ms(sandbox->daemon->loop);
    sandbox->row.last_used_ms = clock_realtime_ms();
    if (!list_linked(&sandbox->dirty) && list_linked(&sandbox->order))
        list_append(&sandbox->daemon->registry.dirty, &sandbox->dirty);
}

void lifecycle_begin_use(struct sandbox *sandbox)
{
    sandbox->in_use++;
    touch(sandbox);
}

void lifecycle_end_use(struct sandbox *sandbox)
{
    sandbox->in_use--;
    touch(sandbox);
}

/* --- starting --- */

static void start_failed(struct sandbox *sandbox, const struct berm_error *cause)
{
    struct daemon *daemon = sandbox->daemon;
    struct berm_error err, store_err;
    uint64_t key;

    instance_start_error(cause, &err);
    log_warn("sandbox.start_failed", "sandbox", sandbox->row.id, "error", err.message);
    daemon->metrics.start_failures++;
    FAULT_POINT("create.failed");
    sandbox_ref(sandbox);
    if (sandbox->row.generation > 1) {
        end_instance(sandbox, SANDBOX_STOPPED, END_START_FAILED, 0, "start_failed");
    } else { /* it never ran: nothing was promised, nothing stays */
        key = detach_instance(sandbox, END_START_FAILED, 0);
        if (store_delete_sandbox(daemon->store, &sandbox->row, &store_err) < 0)
            log_error("store.failed", "sandbox", sandbox->row.id, "error", store_err.message);
        instance_destroy(daemon, key);
        forget_sandbox(sandbox);
        feed_tell_gone(sandbox, "start_failed", END_START_FAILED, err.message);
    }
    finish_waits(sandbox, &err);
    sandbox_unref(sandbox);
}

static void now_running(struct sandbox *sandbox)
{
    struct daemon *daemon = sandbox->daemon;

    FAULT_POINT("create.running");
    if (sandbox->starting)
        histogram_add(&daemon->metrics.start_latency[sandbox->warm ? METRIC_START_WARM : METRIC_START_COLD],
                      (clock_monotonic_ns() - sandbox->start_ns) / 1000);
    sandbox->starting = false;
    sandbox->state = SANDBOX_RUNNING;
    daemon->starts_pending--;
    touch(sandbox);
    lifecycle_arm_idle(sandbox);
    finish_waits(sandbox, NULL);
}

/* One that runs already goes on without knowing its environment; the next use tries again. */
static void configure_failed(struct sandbox *sandbox, const struct berm_error *err)
{
    if (sandbox->starting) {
        start_failed(sandbox, err);
        return;
    }
    sandbox->state = SANDBOX_RUNNING;
    sandbox->daemon->starts_pending--;
    finish_waits(sandbox, err);
}

static void on_configured(const struct berm_error *err, void *data)
{
    struct sandbox *sandbox = data;

    sandbox->configure_call = NULL;
    if (err->code != BERM_OK) {
        configure_failed(sandbox, err);
        return;
    }
    FAULT_POINT("create.configured");
    sandbox->must_configure = false;
    now_running(sandbox);
}

void lifecycle_environment_told(struct sandbox *sandbox, const struct agent_link *link)
{
    if (!sandbox->environment || sandbox->link != link)
        return;
    FAULT_POINT("create.configured");
    free_ptr(&sandbox->environment);
    sandbox->must_configure = false;
}

/*
 * A new instance is told with its first request: a call of its own would be one more way there and back before it.
 * A change of one that is in use is not, since the order of requests on different connections is not certain.
 */
static bool tell_with_request(struct sandbox *sandbox, const struct image_entry *image)
{
    free_ptr(&sandbox->environment);
    if (sandbox->starting)
        sandbox->environment = agent_environment(image, sandbox->row.env);
    return sandbox->environment != NULL;
}

static void tell_environment(struct sandbox *sandbox)
{
    struct daemon *daemon = sandbox->daemon;
    struct str authority = sandbox_authority(sandbox);
    const struct image_entry *image;
    struct berm_error err = { 0 };

    if (!sandbox->must_configure) {
        now_running(sandbox);
        return;
    }
    image = image_cache_by_digest(daemon->images, sandbox->row.digest, &err);
    if (image && authority.n == 0 && !agent_configure_needed(image, sandbox->row.env)) {
        sandbox->must_configure = false;
        now_running(sandbox);
        return;
    }
    if (image && authority.n == 0 && tell_with_request(sandbox, image)) {
        now_running(sandbox);
        return;
    }
    if (image)
        sandbox->configure_call =
            agent_configure(sandbox->link, image, sandbox->row.env, authority, on_configured, sandbox, &err);
    if (!sandbox->configure_call)
        configure_failed(sandbox, &err);
}

void lifecycle_tell_environment(struct sandbox *sandbox)
{
    sandbox->state = SANDBOX_CREATING;
    sandbox->daemon->starts_pending++;
    tell_environment(sandbox);
}

static void on_limits_set(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct sandbox *sandbox = data;

    (void)reply;
    FAULT_POINT("create.limits_set");
    if (err->code != BERM_OK)
        start_failed(sandbox, err);
    else
        tell_environment(sandbox);
}

static void on_created(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct sandbox *sandbox = data;
    struct daemon *daemon = sandbox->daemon;
    struct berm_error failure = *err;

    FAULT_POINT("create.started");
    if (failure.code == BERM_OK && instance_take_egress(daemon, &sandbox->instance, reply) < 0)
        berm_fail(&failure, BERM_E_SYSTEM, ENOMEM, "egress");
    if (failure.code == BERM_OK) {
        sandbox_apply_policy(sandbox);
        sandbox->link = agent_link_new(daemon->loop, daemon->run_dirfd, daemon->config.agent_timeout_ms,
                                       sandbox->row.key, sandbox->row.generation);
        if (!sandbox->link)
            berm_fail(&failure, BERM_E_SYSTEM, ENOMEM, "link to the agent");
    }
    if (failure.code != BERM_OK)
        start_failed(sandbox, &failure);
    else
        tell_environment(sandbox);
}

/* The instance's first step, after its key was committed. */
static void go_on(struct sandbox *sandbox, struct pool_claim *claim)
{
    struct daemon *daemon = sandbox->daemon;
    struct berm_error err;

    if (!claim->link) {
        sandbox->must_configure = true; /* on_created() comes */
        return;
    }
    sandbox->link = claim->link;
    sandbox->instance.egress = claim->egress;
    sandbox->must_configure = strcmp(sandbox->row.env, "{}") != 0;
    sandbox_apply_policy(sandbox);
    agent_link_set_generation(claim->link, sandbox->row.generation);
    if (limits_equal(&sandbox->row.limits, &daemon->default_limits)) {
        tell_environment(sandbox);
        return;
    }
    if (instance_set_limits(daemon, sandbox->row.key, &sandbox->row.limits, on_limits_set, sandbox, &err) < 0)
        start_failed(sandbox, &err);
}

/* 503 when the operator's ceiling is reached; a warm sandbox of another image gives way. */
static int check_room(struct daemon *daemon, struct berm_error *err)
{
    size_t most = daemon->config.max_sandboxes;

    if (daemon->registry.by_key.count < most || pool_give_way(daemon->pool))
        return 0;
    return berm_fail(err, BERM_E_CAPACITY_EXCEEDED, 0,
                     "Cannot start container: instance limit reached (%zu/%zu). All container slots are in use. "
                     "Wait for existing containers to stop.",
                     daemon->registry.by_key.count, most);
}

static int store_start(struct sandbox *sandbox, bool pooled, struct berm_error *err)
{
    bool is_new = sandbox->row.seq == 0;
    char detail[48];

    snprintf(detail, sizeof(detail), "generation %lld", (long long)sandbox->row.generation);
    if (feed_commit(sandbox, pooled ? sandbox->row.key : 0, is_new ? "created" : "started", END_NONE,
                    is_new ? "" : detail, err) < 0)
        return -1;
    FAULT_POINT("create.stored");
    return 0;
}

/* Puts the commit off until the agent has been asked. */
static int store_later(struct sandbox *sandbox)
{
    struct daemon *daemon = sandbox->daemon;

    if (store_claim(daemon->store, sandbox->row.key) < 0)
        return -1;
    daemon->unstored = sandbox_ref(sandbox);
    return 0;
}

void lifecycle_settle(struct daemon *daemon)
{
    struct sandbox *sandbox = TAKE_PTR(daemon->unstored);
    struct berm_error err;

    if (!sandbox)
        return;
    FAULT_POINT("create.asked");
    /* It may have failed meanwhile: then there is nothing to promise. */
    if (sandbox->row.key && store_start(sandbox, true, &err) < 0)
        start_failed(sandbox, &err);
    sandbox_unref(sandbox);
}

/* Commits the start, or puts it off. On failure the row is as it was. */
static int commit_start(struct sandbox *sandbox, uint64_t key, bool pooled, bool asks_agent, struct berm_error *err)
{
    struct daemon *daemon = sandbox->daemon;
    struct sandbox_row before = sandbox->row;

    sandbox->row.key = key;
    sandbox->row.generation++;
    sandbox->row.state = SANDBOX_RUNNING;
    sandbox->row.end_reason = END_NONE;
    sandbox->row.exit_status = 0;
    sandbox->row.started_ms = sandbox->row.last_used_ms = clock_realtime_ms();
    if (instance_register(&daemon->registry, &sandbox->instance, key) < 0)
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "sandbox");
    else if ((pooled && asks_agent && store_later(sandbox) == 0) || store_start(sandbox, pooled, err) == 0)
        return 0;
    instance_unregister(&daemon->registry, &sandbox->instance);
    sandbox->row = before;
    return -1;
}

static int ask_for_instance(struct sandbox *sandbox, uint64_t key, struct berm_error *err)
{
    struct berm_error cause;

    if (instance_create(sandbox->daemon, key, sandbox->row.digest, &sandbox->row.limits, sandbox->row.network,
                        on_created, sandbox, &cause) == 0) {
        FAULT_POINT("create.sent");
        return 0;
    }
    instance_start_error(&cause, err);
    sandbox->daemon->metrics.start_failures++;
    return -1;
}

static void give_instance_up(struct sandbox *sandbox, uint64_t key, struct pool_claim *claim)
{
    struct daemon *daemon = sandbox->daemon;

    if (claim->link) {
        pool_claim_failed(daemon->pool, claim);
        return;
    }
    spawn_link_forget(daemon->spawn, sandbox);
    instance_destroy(daemon, key);
}

static int begin_start(struct sandbox *sandbox, bool asks_agent, struct pool_claim *claim, struct berm_error *err)
{
    struct daemon *daemon = sandbox->daemon;
    const struct image_entry *image = image_cache_resolve(daemon->images, sandbox->row.image, err);
    /* These cannot be changed in a sandbox that runs. */
    bool fits_pool = sandbox->row.limits.nofile == daemon->default_limits.nofile &&
                     sandbox->row.network == default_network(daemon);
    uint64_t key;

    if (!image)
        return -1;
    if (!(fits_pool && pool_claim(daemon->pool, image->digest, claim)) && check_room(daemon, err) < 0)
        return -1;
    key = claim->link ? claim->key : instance_new_key(&daemon->registry);
    memcpy(sandbox->row.digest, image->digest, sizeof(sandbox->row.digest));
    if (!claim->link && ask_for_instance(sandbox, key, err) < 0)
        return -1;
    if (commit_start(sandbox, key, claim->link != NULL, asks_agent, err) == 0)
        return 0;
    give_instance_up(sandbox, key, claim);
    return -1;
}

static void start(struct sandbox *sandbox, bool asks_agent)
{
    struct daemon *daemon = sandbox->daemon;
    struct pool_claim claim = { 0 };
    struct berm_error err;

    sandbox->start_ns = clock_monotonic_ns();
    if (begin_start(sandbox, asks_agent, &claim, &err) == 0) {
        sandbox->state = SANDBOX_CREATING;
        sandbox->starting = true;
        sandbox->warm = claim.link != NULL;
        daemon->starts_pending++;
        go_on(sandbox, &claim);
        if (daemon->unstored) /* behind what was begun just now */
            loop_defer(daemon->loop, &daemon->store_later);
        return;
    }
    sandbox_ref(sandbox);
    if (sandbox->row.seq == 0)
        forget_sandbox(sandbox);
    finish_waits(sandbox, &err);
    sandbox_unref(sandbox);
}

/* --- use --- */

/* A sandbox that nobody has named before. */
static struct sandbox *make_sandbox(struct daemon *daemon, const struct sandbox_wait *wait)
{
    struct sandbox *sandbox = registry_add(daemon, str_from(wait->id));

    if (!sandbox)
        return NULL;
    loop_timer_init(&sandbox->idle_timer, on_idle);
    sandbox->row.limits = daemon->default_limits;
    sandbox->row.network = default_network(daemon);
    sandbox->row.sleep_after_ms = daemon->config.sleep_after_ms;
    sandbox->row.created_ms = clock_realtime_ms();
    snprintf(sandbox->row.image, sizeof(sandbox->row.image), "%s", daemon->config.image);
    if (settings_take(&sandbox->row, wait->settings) == 0)
        return sandbox;
    forget_sandbox(sandbox);
    return NULL;
}

static bool stale(const struct sandbox *sandbox, int64_t wanted, struct berm_error *err)
{
    bool runs = sandbox && (sandbox->state == SANDBOX_RUNNING || sandbox->state == SANDBOX_CREATING);

    if (wanted == 0 || (runs && sandbox->row.generation == wanted))
        return false;
    if (runs)
        berm_fail(err, BERM_E_STALE_GENERATION, 0, "generation %lld is over, %lld runs", (long long)wanted,
                  (long long)sandbox->row.generation);
    else
        berm_fail(err, BERM_E_STALE_GENERATION, 0, "generation %lld does not run", (long long)wanted);
    return true;
}

static void use_existing(struct sandbox *sandbox, struct sandbox_wait *wait)
{
    if (sandbox->state == SANDBOX_CREATING) {
        list_append(&sandbox->waits, &wait->node);
        return;
    }
    if (wait->configure) {
        settings_apply(sandbox, wait);
        return;
    }
    if (sandbox->state == SANDBOX_RUNNING && (!sandbox->must_configure || sandbox->environment)) {
        wait->done(wait, sandbox, NULL);
        return;
    }
    list_append(&sandbox->waits, &wait->node);
    if (sandbox->state == SANDBOX_RUNNING) { /* adopted: the agent may never have been told its environment */
        lifecycle_tell_environment(sandbox);
    } else {
        start(sandbox, wait->asks_agent);
    }
}

void lifecycle_use(struct daemon *daemon, struct sandbox_wait *wait)
{
    struct sandbox *sandbox;
    struct berm_error err;

    lifecycle_settle(daemon);
    sandbox = registry_find(&daemon->registry, str_from(wait->id));
    if (!daemon->adopted) {
        list_append(&daemon->adoption_waits, &wait->node);
    } else if (stale(sandbox, wait->if_generation, &err)) {
        wait->done(wait, NULL, &err);
    } else if (sandbox) {
        use_existing(sandbox, wait);
    } else if ((sandbox = make_sandbox(daemon, wait))) {
        wait->created = true;
        list_append(&sandbox->waits, &wait->node);
        start(sandbox, wait->asks_agent);
    } else {
        berm_fail(&err, BERM_E_SYSTEM, ENOMEM, "sandbox");
        wait->done(wait, NULL, &err);
    }
}

void lifecycle_cancel(struct daemon *daemon, struct sandbox_wait *wait)
{
    struct sandbox *sandbox = registry_find(&daemon->registry, str_from(wait->id));

    list_remove(&wait->node);
    if (sandbox)
        settings_cancel(sandbox, wait);
}

/* --- destroy --- */

int lifecycle_destroy(struct daemon *daemon, struct str id, struct berm_error *err)
{
    struct sandbox *sandbox;
    struct berm_error ended;
    uint64_t key;

    lifecycle_settle(daemon);
    sandbox = registry_find(&daemon->registry, id);
    if (!sandbox)
        return 0;
    if (store_delete_sandbox(daemon->store, &sandbox->row, err) < 0)
        return -1;
    FAULT_POINT("destroy.stored");
    edge_forget_sandbox(daemon->edge, id);
    sandbox_ref(sandbox);
    key = detach_instance(sandbox, END_DESTROYED, 0);
    forget_sandbox(sandbox);
    feed_tell_gone(sandbox, "destroyed", END_DESTROYED, "");
    if (key) {
        instance_destroy(daemon, key);
        pool_room(daemon->pool);
    }
    daemon->metrics.ends[METRIC_END_DESTROYED]++;
    log_info("sandbox.destroyed", "sandbox", sandbox->row.id, "generation", log_num(sandbox->row.generation));
    if (sandbox->container)
        docker_sandbox_deleted(sandbox);
    berm_fail(&ended, BERM_E_SANDBOX_DIED, 0, "the sandbox was deleted");
    finish_waits(sandbox, &ended);
    sandbox_unref(sandbox);
    return 0;
}

/* --- the store at start-up and between --- */

int lifecycle_load(struct daemon *daemon, const struct sandbox_row *row)
{
    struct sandbox *sandbox;

    if (!sandbox_id_valid(str_from(row->id)))
        return -1;
    sandbox = registry_add(daemon, str_from(row->id));
    if (!sandbox)
        return -1;
    sandbox->row = *row;
    sandbox->row.env = strdup(row->env);
    sandbox->row.labels = strdup(row->labels);
    sandbox->row.egress = strdup(row->egress);
    sandbox->state = row->state;
    loop_timer_init(&sandbox->idle_timer, on_idle);
    if (!sandbox->row.env || !sandbox->row.labels || !sandbox->row.egress)
        return -1;
    return row->key ? instance_register(&daemon->registry, &sandbox->instance, row->key) : 0;
}

/*
 * We may have died between the commit of other limits and their being set, or berm-spawn between setting them and
 * telling us, whereupon we kept the old ones. A change under way sets them anyhow.
 */
static void restore_limits(struct sandbox *sandbox, const struct spawn_limits *found)
{
    struct berm_error err;

    if (sandbox->change || limits_equal(found, &sandbox->row.limits))
        return;
    if (instance_set_limits(sandbox->daemon, sandbox->row.key, &sandbox->row.limits, NULL, NULL, &err) < 0)
        log_warn("sandbox.limits_failed", "sandbox", sandbox->row.id, "error", err.message);
}

void lifecycle_adopt(struct sandbox *sandbox, const struct spawn_sandbox *found)
{
    struct daemon *daemon = sandbox->daemon;

    restore_limits(sandbox, &found->limits);
    instance_renew_egress(daemon, &sandbox->instance, found);
    sandbox_apply_policy(sandbox);
    if (sandbox->container)
        docker_sandbox_adopted(sandbox);
    if (sandbox->link) /* berm-spawn restarted, we did not */
        return;
    sandbox->link = agent_link_new(daemon->loop, daemon->run_dirfd, daemon->config.agent_timeout_ms,
                                   sandbox->row.key, sandbox->row.generation);
    if (!sandbox->link) {
        lifecycle_ended(sandbox, END_LOST, 0, "died");
        return;
    }
    sandbox->state = SANDBOX_RUNNING;
    sandbox->must_configure = true;
    sandbox->used_ms = loop_now_ms(daemon->loop);
    lifecycle_arm_idle(sandbox);
    daemon->metrics.adopted++;
    if (sandbox->container)
        docker_sandbox_linked(sandbox);
}
