#include "daemon/pool.h"

#include "base/fault.h"
#include "base/log.h"
#include "daemon/agent_configure.h"
#include "daemon/lifecycle.h"
#include "daemon/sandbox_egress.h"

#define REFILL_DELAY_MS 5   /* by then a claimed one has given its first result */
#define BUSY_RECENT_MS  20  /* requests that began within this time go first */
#define BUSY_MOST_MS    100 /* but the pool does not wait longer than this */
#define PAUSE_MIN_MS    250
#define PAUSE_MAX_MS    30000

struct pool_image {
    char name[IMAGE_NAME_BYTES];
    size_t target;
};

struct pool_entry {
    struct instance instance;
    struct pool *pool;
    struct list node; /* in pool->ready or pool->starting */
    uint8_t digest[32];
    struct agent_link *link;
    struct http_call *configure_call;
    bool ready;
};

struct pool {
    struct daemon *daemon;
    struct pool_image images[CONFIG_MAX_LISTEN];
    size_t image_count;
    struct list ready, starting;
    size_t ready_count, starting_count;
    bool paused;
    uint32_t pause_ms;         /* after a failure; 0: none */
    uint64_t waiting_since_ms; /* 0: not held up by requests */
    struct loop_timer timer;
};

static void schedule(struct pool *pool, uint32_t ms)
{
    if (!loop_timer_armed(&pool->timer))
        loop_timer_start(pool->daemon->loop, &pool->timer, ms);
}

/* --- entries --- */

static struct pool_entry *add_entry(struct pool *pool, uint64_t key, const uint8_t digest[32])
{
    struct pool_entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->pool = pool;
    entry->instance.kind = INSTANCE_POOLED;
    memcpy(entry->digest, digest, sizeof(entry->digest));
    if (instance_register(&pool->daemon->registry, &entry->instance, key) < 0) {
        free(entry);
        return NULL;
    }
    list_append(&pool->starting, &entry->node);
    pool->starting_count++;
    return entry;
}

static void drop_entry(struct pool_entry *entry)
{
    struct pool *pool = entry->pool;

    agent_configure_cancel(entry->configure_call);
    if (!entry->ready)
        spawn_link_forget(pool->daemon->spawn, entry);
    instance_drop_egress(pool->daemon, &entry->instance);
    instance_unregister(&pool->daemon->registry, &entry->instance);
    list_remove(&entry->node);
    if (entry->ready)
        pool->ready_count--;
    else
        pool->starting_count--;
    if (entry->link) {
        agent_link_close(entry->link, END_KILLED, 0);
        agent_link_unref(entry->link);
    }
    free(entry);
}

static void destroy_entry(struct pool_entry *entry)
{
    struct daemon *daemon = entry->pool->daemon;
    uint64_t key = entry->instance.key;
    struct berm_error err;

    drop_entry(entry);
    if (store_delete_pool(daemon->store, key, &err) < 0)
        log_error("store.failed", "error", err.message);
    FAULT_POINT("pool.deleted");
    instance_destroy(daemon, key);
}

static void entry_failed(struct pool_entry *entry, const struct berm_error *err)
{
    struct pool *pool = entry->pool;

    log_warn("pool.start_failed", "error", err->message);
    pool->daemon->metrics.pool_failures++;
    pool->pause_ms = MIN(MAX(pool->pause_ms * 2, PAUSE_MIN_MS), PAUSE_MAX_MS);
    destroy_entry(entry);
    schedule(pool, pool->pause_ms);
}

/* --- making one --- */

static void on_configured(const struct berm_error *err, void *data)
{
    struct pool_entry *entry = data;
    struct pool *pool = entry->pool;

    entry->configure_call = NULL;
    if (err->code != BERM_OK) {
        entry_failed(entry, err);
        return;
    }
    FAULT_POINT("pool.ready");
    entry->ready = true;
    pool->pause_ms = 0;
    list_remove(&entry->node);
    pool->starting_count--;
    list_append(&pool->ready, &entry->node);
    pool->ready_count++;
    schedule(pool, 0);
}

/* Also without variables: the answer shows that the agent is there, and leaves a connection open for the claimer.
 */
static void configure_entry(struct pool_entry *entry)
{
    struct daemon *daemon = entry->pool->daemon;
    const struct image_entry *image;
    struct berm_error err;

    entry->link =
        agent_link_new(daemon->loop, daemon->run_dirfd, daemon->config.agent_timeout_ms, entry->instance.key, 0);
    if (!entry->link) {
        berm_fail(&err, BERM_E_SYSTEM, ENOMEM, "link to the agent");
        entry_failed(entry, &err);
        return;
    }
    image = image_cache_by_digest(daemon->images, entry->digest, &err);
    if (image)
        entry->configure_call = agent_configure(entry->link, image, NULL, STR(""), on_configured, entry, &err);
    if (!entry->configure_call)
        entry_failed(entry, &err);
}

static void on_created(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct pool_entry *entry = data;
    struct berm_error failure = *err;

    FAULT_POINT("pool.started");
    if (failure.code == BERM_OK && instance_take_egress(entry->pool->daemon, &entry->instance, reply) < 0)
        berm_fail(&failure, BERM_E_SYSTEM, ENOMEM, "egress");
    if (failure.code != BERM_OK)
        entry_failed(entry, &failure);
    else
        configure_entry(entry);
}

static void start_one(struct pool *pool, const struct image_entry *image)
{
    struct daemon *daemon = pool->daemon;
    uint64_t key = instance_new_key(&daemon->registry);
    struct pool_entry *entry = add_entry(pool, key, image->digest);
    struct berm_error err;

    if (!entry)
        return;
    if (store_put_pool(daemon->store, key, image->digest, &err) < 0) {
        log_error("store.failed", "error", err.message);
        drop_entry(entry);
        return;
    }
    FAULT_POINT("pool.stored");
    if (instance_create(daemon, key, image->digest, &daemon->default_limits, default_network(daemon), on_created,
                        entry, &err) < 0)
        entry_failed(entry, &err);
}

/* --- keeping the target --- */

static size_t count_image(const struct pool *pool, const uint8_t digest[32])
{
    const struct list *lists[] = { &pool->ready, &pool->starting };
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (struct list *node = lists[i]->next; node != lists[i]; node = node->next)
            count += !memcmp(container_of(node, struct pool_entry, node)->digest, digest, 32);
    return count;
}

/* True when one was started. */
static bool fill_image(struct pool *pool, const struct pool_image *wanted)
{
    const struct image_entry *image;
    struct berm_error err;

    if (wanted->target == 0)
        return false;
    image = image_cache_resolve(pool->daemon->images, wanted->name, &err);
    if (!image) {
        if (pool->pause_ms == 0 && err.code != BERM_E_IMAGE_NOT_FOUND)
            log_warn("pool.image", "image", wanted->name, "error", err.message);
        pool->pause_ms = MIN(MAX(pool->pause_ms * 2, PAUSE_MIN_MS), PAUSE_MAX_MS);
        schedule(pool, pool->pause_ms);
        return false;
    }
    if (count_image(pool, image->digest) >= wanted->target)
        return false;
    start_one(pool, image);
    return true;
}

/* Which image an entry counts for; SIZE_MAX: none (its name has moved on, or is not kept warm any more). */
static size_t image_of(struct pool *pool, const struct pool_entry *entry)
{
    for (size_t i = 0; i < pool->image_count; i++) {
        const struct image_entry *image = image_cache_resolve(pool->daemon->images, pool->images[i].name, NULL);

        if (image && !memcmp(image->digest, entry->digest, sizeof(entry->digest)))
            return i;
    }
    return SIZE_MAX;
}

/* Ends warm ones that nobody wants any more: of an image of before, or above a target that was made smaller. */
static void drop_surplus(struct pool *pool)
{
    size_t kept[CONFIG_MAX_LISTEN] = { 0 }, total = 0;
    struct list *next;

    for (struct list *node = pool->ready.next; node != &pool->ready; node = next) {
        struct pool_entry *entry = container_of(node, struct pool_entry, node);
        size_t image = image_of(pool, entry);

        next = node->next;
        if (image == SIZE_MAX || kept[image] >= pool->images[image].target ||
            total >= pool->daemon->config.pool_max) {
            destroy_entry(entry);
            continue;
        }
        kept[image]++;
        total++;
    }
}

/* A start takes a CPU for a millisecond or two: it would only slow down those who use what they have just claimed.
 */
static bool give_way_to_requests(struct pool *pool)
{
    struct daemon *daemon = pool->daemon;
    uint64_t now = loop_now_ms(daemon->loop);
    bool busy = daemon->requests_active > 0 && now - daemon->last_request_ms < BUSY_RECENT_MS;

    if (pool->waiting_since_ms == 0)
        pool->waiting_since_ms = now;
    if (daemon->starts_pending > 0 || (busy && now - pool->waiting_since_ms < BUSY_MOST_MS))
        return true;
    pool->waiting_since_ms = 0;
    return false;
}

static void on_timer(struct loop_timer *timer)
{
    struct pool *pool = container_of(timer, struct pool, timer);
    struct daemon *daemon = pool->daemon;

    if (pool->paused || daemon->draining || !daemon->adopted || pool->starting_count > 0)
        return;
    if (give_way_to_requests(pool)) {
        schedule(pool, REFILL_DELAY_MS);
        return;
    }
    drop_surplus(pool);
    if (pool->ready_count >= daemon->config.pool_max ||
        daemon->registry.by_key.count >= daemon->config.max_sandboxes)
        return;
    for (size_t i = 0; i < pool->image_count; i++)
        if (fill_image(pool, &pool->images[i]))
            return;
}

void pool_room(struct pool *pool)
{
    schedule(pool, pool->pause_ms ? pool->pause_ms : REFILL_DELAY_MS);
}

/* --- claims --- */

bool pool_claim(struct pool *pool, const uint8_t digest[32], struct pool_claim *ret)
{
    for (struct list *node = pool->ready.next; node != &pool->ready; node = node->next) {
        struct pool_entry *entry = container_of(node, struct pool_entry, node);

        if (memcmp(entry->digest, digest, sizeof(entry->digest)))
            continue;
        FAULT_POINT("pool.claimed");
        *ret = (struct pool_claim){ entry->instance.key, entry->link, entry->instance.egress };
        entry->link = NULL;
        entry->instance.egress = NULL;
        drop_entry(entry);
        pool_room(pool);
        return true;
    }
    return false;
}

void pool_claim_failed(struct pool *pool, struct pool_claim *claim)
{
    agent_link_close(claim->link, END_KILLED, 0);
    agent_link_unref(claim->link);
    egress_free(claim->egress);
    instance_destroy(pool->daemon, claim->key);
    if (store_delete_pool(pool->daemon->store, claim->key, NULL) < 0)
        log_error("store.failed", "error", "a row of the warm pool stays behind");
    claim->link = NULL;
    claim->egress = NULL;
}

bool pool_give_way(struct pool *pool)
{
    struct list *from = list_empty(&pool->ready) ? &pool->starting : &pool->ready;

    if (list_empty(from))
        return false;
    destroy_entry(container_of(from->next, struct pool_entry, node));
    return true;
}

void pool_shutdown(struct pool *pool)
{
    pool->paused = true;
    while (!list_empty(&pool->ready))
        destroy_entry(container_of(pool->ready.next, struct pool_entry, node));
    while (!list_empty(&pool->starting))
        destroy_entry(container_of(pool->starting.next, struct pool_entry, node));
}

void pool_prime(struct pool *pool)
{
    pool->paused = false;
    pool->pause_ms = 0;
    loop_timer_stop(pool->daemon->loop, &pool->timer);
    schedule(pool, 0);
}

void pool_get_stats(const struct pool *pool, struct pool_stats *ret)
{
    size_t target = 0;

    for (size_t i = 0; i < pool->image_count; i++)
        target += pool->images[i].target;
    *ret = (struct pool_stats){ pool->ready_count, pool->starting_count,
                                MIN(target, (size_t)pool->daemon->config.pool_max), pool->paused };
}

/* --- adoption --- */

int pool_load(struct pool *pool, uint64_t key, const uint8_t digest[32])
{
    return add_entry(pool, key, digest) ? 0 : -1;
}

/* It may have been made just before the daemon died: its agent is told its environment (again). */
void pool_adopt(struct pool *pool, struct instance *instance, const struct spawn_sandbox *found)
{
    struct pool_entry *entry = container_of(instance, struct pool_entry, instance);

    instance_renew_egress(pool->daemon, instance, found);
    if (!entry->link)
        configure_entry(entry);
}

void pool_ended(struct pool *pool, struct instance *instance)
{
    destroy_entry(container_of(instance, struct pool_entry, instance));
    pool_room(pool);
}

/* --- set-up --- */

static int add_image(struct pool *pool, const char *text, size_t size, struct berm_error *err)
{
    struct pool_image *image = &pool->images[pool->image_count];
    const char *colon = strchr(text, ':');
    struct str name = { text, colon ? (size_t)(colon - text) : strlen(text) };
    uint64_t target = size;

    if (colon && (str_to_u64(str_from(colon + 1), &target) < 0 || target > 10000))
        return berm_fail_field(err, "images", "pool.images: \"%s\" is not NAME or NAME:SIZE", text);
    if (!image_name_valid(name) || str_copy(name, image->name, sizeof(image->name)) < 0)
        return berm_fail_field(err, "images", "pool.images: \"%s\" is not NAME or NAME:SIZE", text);
    image->target = target;
    pool->image_count++;
    return 0;
}

int pool_new(struct daemon *daemon, struct pool **ret, struct berm_error *err)
{
    const struct config *config = &daemon->config;
    struct pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "pool");
    pool->daemon = daemon;
    list_init(&pool->ready);
    list_init(&pool->starting);
    loop_timer_init(&pool->timer, on_timer);
    if (config->pool_images.count == 0 && add_image(pool, config->image, config->pool_size, err) < 0)
        goto fail;
    for (size_t i = 0; i < config->pool_images.count; i++)
        if (add_image(pool, config->pool_images.items[i], config->pool_size, err) < 0)
            goto fail;
    *ret = pool;
    return 0;
fail:
    free(pool);
    return -1;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    loop_timer_stop(pool->daemon->loop, &pool->timer);
    while (!list_empty(&pool->ready))
        drop_entry(container_of(pool->ready.next, struct pool_entry, node));
    while (!list_empty(&pool->starting))
        drop_entry(container_of(pool->starting.next, struct pool_entry, node));
    free(pool);
}
