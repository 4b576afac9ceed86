#include "daemon/adopt.h"

#include "base/fault.h"
#include "base/log.h"
#include "daemon/docker/docker.h"
#include "daemon/lifecycle.h"
#include "daemon/pool.h"

#define RETRY_MS 500

static struct sandbox *sandbox_of(struct instance *instance)
{
    return container_of(instance, struct sandbox, instance);
}

/* --- the list --- */

static void on_sandbox(uint64_t key, const struct spawn_sandbox *found, void *data)
{
    struct daemon *daemon = data;
    struct instance *instance = instance_find(&daemon->registry, key);
    enum end_reason reason;
    int status;

    if (!instance) {
        FAULT_POINT("adopt.unclaimed");
        log_info("sandbox.unclaimed", "pid", log_num(found->host_pid));
        instance_destroy(daemon, key);
        return;
    }
    instance->seen = daemon->adoption_round;
    if (found->state != SPAWN_STATE_RUNNING) {
        reason = lifecycle_reason(found, &status);
        if (instance->kind == INSTANCE_POOLED)
            pool_ended(daemon->pool, instance);
        else
            lifecycle_ended(sandbox_of(instance), reason, status, "died");
    } else if (instance->kind == INSTANCE_POOLED) {
        pool_adopt(daemon->pool, instance, found);
    } else {
        lifecycle_adopt(sandbox_of(instance), found);
    }
}

/* The first instance that was not in the list; looked for anew after each, as ending one changes the table. */
static struct instance *find_lost(struct daemon *daemon)
{
    struct hash_table *table = &daemon->registry.by_key;

    for (size_t i = 0; i < table->bucket_count; i++)
        for (struct hash_node *node = table->buckets[i]; node; node = node->next) {
            struct instance *instance = container_of(node, struct instance, node);

            if (instance->seen != daemon->adoption_round)
                return instance;
        }
    return NULL;
}

static size_t end_lost(struct daemon *daemon)
{
    struct instance *instance;
    size_t count = 0;

    for (; (instance = find_lost(daemon)); count++) {
        if (instance->kind == INSTANCE_POOLED)
            pool_ended(daemon->pool, instance);
        else
            lifecycle_ended(sandbox_of(instance), END_LOST, 0, "died");
    }
    return count;
}

static void resume_waits(struct daemon *daemon)
{
    struct list waits;
    struct list *node;

    list_init(&waits);
    list_splice(&waits, &daemon->adoption_waits);
    while ((node = list_shift(&waits))) {
        struct sandbox_wait *wait = container_of(node, struct sandbox_wait, node);

        if (wait->adopted)
            wait->adopted(wait);
        else
            lifecycle_use(daemon, wait);
    }
}

static void on_list(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct daemon *daemon = data;
    size_t lost;

    (void)reply;
    if (err->code == BERM_E_SPAWNER_UNAVAILABLE) /* on_restarted() or on_lost() comes next */
        return;
    if (err->code != BERM_OK) {
        log_error("adoption.failed", "error", err->message);
        loop_timer_start(daemon->loop, &daemon->adoption_timer, RETRY_MS);
        return;
    }
    FAULT_POINT("adopt.listed");
    lost = end_lost(daemon);
    daemon->adopted = true;
    FAULT_POINT("adopt.done");
    log_info("adoption.done", "instances", log_num((long long)daemon->registry.by_key.count), "lost",
             log_num((long long)lost));
    docker_sweep_volumes(daemon->docker);
    docker_sweep_images(daemon->docker);
    resume_waits(daemon);
    pool_room(daemon->pool);
}

static void begin(struct daemon *daemon)
{
    struct spawn_request request = { .op = SPAWN_OP_LIST };
    struct berm_error err;

    FAULT_POINT("adopt.begin");
    daemon->adopted = false;
    daemon->adoption_round++;
    if (spawn_link_send(daemon->spawn, &request, on_list, daemon, &err) < 0) {
        log_error("adoption.failed", "error", err.message);
        loop_timer_start(daemon->loop, &daemon->adoption_timer, RETRY_MS);
    }
}

/* --- other events --- */

static void on_exit_event(uint64_t key, const struct spawn_sandbox *sandbox, void *data)
{
    struct daemon *daemon = data;
    struct instance *instance = instance_find(&daemon->registry, key);
    enum end_reason reason;
    int status;

    if (!instance) /* we destroyed it */
        return;
    FAULT_POINT("end.told");
    reason = lifecycle_reason(sandbox, &status);
    if (instance->kind == INSTANCE_POOLED)
        pool_ended(daemon->pool, instance);
    else
        lifecycle_ended(sandbox_of(instance), reason, status, "died");
}

static void prepare_slots(struct daemon *daemon)
{
    struct spawn_request request = { .op = SPAWN_OP_PREPARE };
    struct berm_error err;

    request.prepare.slots = (uint32_t)daemon->config.pool_slots;
    if (spawn_link_send(daemon->spawn, &request, NULL, NULL, &err) < 0)
        log_warn("spawn.prepare_failed", "error", err.message);
}

static void on_restarted(void *data)
{
    struct daemon *daemon = data;

    log_warn("spawn.restarted");
    daemon->metrics.spawner_restarts++;
    docker_commits_lost(daemon->docker);
    prepare_slots(daemon);
    begin(daemon);
}

static void on_lost(void *data)
{
    struct daemon *daemon = data;

    log_error("spawn.lost", "consequence", "bermd stops; sandboxes live on until it is started again");
    daemon->host_known = false;
    daemon->adopted = false;
    loop_stop(daemon->loop);
}

static void on_hello(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct daemon *daemon = data;

    if (err->code != BERM_OK) {
        log_error("spawn.hello_failed", "error", err->message);
        return;
    }
    daemon->host = reply->hello;
    daemon->host_known = true;
}

static void on_retry(struct loop_timer *timer)
{
    begin(container_of(timer, struct daemon, adoption_timer));
}

void adopt_init(struct daemon *daemon)
{
    struct spawn_request request = { .op = SPAWN_OP_HELLO };
    struct berm_error err;

    list_init(&daemon->adoption_waits);
    loop_timer_init(&daemon->adoption_timer, on_retry);
    if (spawn_link_send(daemon->spawn, &request, on_hello, daemon, &err) < 0)
        log_error("spawn.hello_failed", "error", err.message);
    begin(daemon);
    prepare_slots(daemon);
}

static void on_volume(uint64_t number, void *data)
{
    docker_volume_found(((struct daemon *)data)->docker, number);
}

static void on_committed(uint64_t number, const struct spawn_reply *event, void *data)
{
    docker_committed(((struct daemon *)data)->docker, number, event);
}

static void on_image(uint64_t number, const struct spawn_image *image, void *data)
{
    docker_image_found(((struct daemon *)data)->docker, number, image->digest);
}

const struct spawn_link_events adopt_events = {
    .on_committed = on_committed,
    .on_image = on_image,
    .on_sandbox = on_sandbox,
    .on_volume = on_volume,
    .on_exit = on_exit_event,
    .on_restarted = on_restarted,
    .on_lost = on_lost,
};
