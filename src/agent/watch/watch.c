#include "watch.h"

#include "agent/agent.h"
#include "glob.h"

#define WATCHES_MAX 1024
#define RETAIN_MS   ((uint64_t)10 * 60 * 1000)
#define KEY_MAX     ((size_t)1024 * 1024)

struct watch {
    struct watch *next;
    struct agent *agent;
    struct buf key; /* what makes watches the same */
    char id[WATCH_ID_SIZE];
    struct watch_tree tree;
    unsigned kinds;
    bool including;
    struct str *patterns; /* inside `key` */
    size_t pattern_count;
    uint64_t events;
    struct watch_user *users, *cursor;
    bool retained;
    struct loop_timer retain_timer;
    bool listed;
    struct loop_deferred free_later;
};

const char *const watch_kind_names[WATCH_KIND_COUNT] = { "create",    "modify",  "delete",
                                                         "move_from", "move_to", "attrib" };

void watch_table_init(struct watch_table *table, struct loop *loop)
{
    *table = (struct watch_table){ .next_id = 1 };
    notify_init(&table->notify, loop);
}

/* --- patterns --- */

static bool any_pattern_matches(const struct watch *watch, struct str path)
{
    for (size_t i = 0; i < watch->pattern_count; i++)
        if (glob_matches(watch->patterns[i], path))
            return true;
    return false;
}

static struct watch *of_tree(struct watch_tree *tree)
{
    return container_of(tree, struct watch, tree);
}

static bool skip(struct watch_tree *tree, struct str path)
{
    struct watch *watch = of_tree(tree);

    return !watch->including && any_pattern_matches(watch, path);
}

/* --- the end --- */

static void free_watch(struct watch *watch)
{
    watch_tree_stop(&watch->tree);
    loop_timer_stop(watch->agent->loop, &watch->retain_timer);
    loop_defer_cancel(watch->agent->loop, &watch->free_later);
    free(watch->patterns);
    buf_free(&watch->key);
    free(watch);
}

static void on_free_later(struct loop_deferred *deferred)
{
    free_watch(container_of(deferred, struct watch, free_later));
}

/* Nobody finds it any more; its memory goes when none of its functions is running. */
static void retire(struct watch *watch)
{
    struct watch_table *table = &watch->agent->watches;
    struct watch **at = &table->first;

    if (!watch->listed)
        return;
    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
    watch->listed = false;
    table->count--;
    loop_timer_stop(watch->agent->loop, &watch->retain_timer);
    loop_defer(watch->agent->loop, &watch->free_later);
}

static bool has_live_users(const struct watch *watch)
{
    for (const struct watch_user *user = watch->users; user; user = user->next)
        if (user->live)
            return true;
    return false;
}

/* After a user came or went, or the last check. */
static void settle_life(struct watch *watch)
{
    struct loop *loop = watch->agent->loop;

    if (!watch->users && !watch->retained)
        retire(watch);
    else if (!watch->retained || has_live_users(watch))
        loop_timer_stop(loop, &watch->retain_timer);
    else if (watch->listed && loop_timer_start(loop, &watch->retain_timer, RETAIN_MS) < 0)
        watch->retained = false; /* without memory: kept for nobody */
}

static void on_retain_timer(struct loop_timer *timer)
{
    struct watch *watch = container_of(timer, struct watch, retain_timer);

    watch->retained = false;
    settle_life(watch);
}

static void detach(struct watch_user *user)
{
    struct watch *watch = user->watch;

    if (watch->cursor == user)
        watch->cursor = user->next;
    *user->place = user->next;
    if (user->next)
        user->next->place = user->place;
    user->watch = NULL;
}

static void end_users(struct watch *watch, const char *reason, bool failed)
{
    while (watch->users) {
        struct watch_user *user = watch->users;
        detach(user);
        user->on_end(user, reason, failed);
    }
}

static void on_tree_end(struct watch_tree *tree, const char *reason, bool failed)
{
    struct watch *watch = of_tree(tree);

    watch->retained = false;
    retire(watch);
    end_users(watch, reason, failed);
}

void watch_end_all(struct agent *agent, const char *reason)
{
    while (agent->watches.first) {
        struct watch *watch = agent->watches.first;
        watch->retained = false;
        retire(watch);
        end_users(watch, reason, false);
    }
}

/* --- events --- */

#define FOR_EACH_USER(watch, user)                                                                                 \
    for ((watch)->cursor = (watch)->users; ((user) = (watch)->cursor) && ((watch)->cursor = (user)->next, true);)

static void on_tree_ready(struct watch_tree *tree)
{
    struct watch *watch = of_tree(tree);
    struct watch_user *user;

    FOR_EACH_USER(watch, user)
    user->on_ready(user);
}

static void on_tree_event(struct watch_tree *tree, enum watch_kind kind, struct str path, bool directory)
{
    struct watch *watch = of_tree(tree);
    struct watch_user *user;

    if (!(watch->kinds >> kind & 1))
        return;
    if (watch->pattern_count > 0 && any_pattern_matches(watch, path) != watch->including)
        return;
    watch->events++;
    FOR_EACH_USER(watch, user)
    user->on_event(user, kind, path, directory);
}

static void set_id(struct watch *watch)
{
    snprintf(watch->id, sizeof(watch->id), "watch-%llu-%lld", (unsigned long long)watch->agent->watches.next_id++,
             (long long)clock_realtime_ms());
    watch->events = 0;
}

static void on_tree_lost(struct watch_tree *tree)
{
    struct watch *watch = of_tree(tree);
    struct watch_user *user;

    set_id(watch);
    FOR_EACH_USER(watch, user)
    user->on_lost(user);
}

/* --- finding and making --- */

static int compare_strings(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    int order = memcmp(x->p, y->p, MIN(x->n, y->n));

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Path, NUL, options, and the sorted patterns, each with a NUL; none of them holds one. */
static int build_key(struct buf *key, const struct watch_spec *spec)
{
    buf_init(key, KEY_MAX);
    qsort(spec->patterns, spec->pattern_count, sizeof(spec->patterns[0]), compare_strings);
    if (buf_append(key, spec->path, strlen(spec->path) + 1) < 0 ||
        buf_printf(key, "%d %u %d", spec->recursive, spec->kinds, spec->including) < 0 ||
        buf_append(key, "", 1) < 0)
        return -1;
    for (size_t i = 0; i < spec->pattern_count; i++) {
        if (i > 0 && str_eq(spec->patterns[i - 1], spec->patterns[i]))
            continue;
        if (buf_append_str(key, spec->patterns[i]) < 0 || buf_append(key, "", 1) < 0)
            return -1;
    }
    return 0;
}

static struct watch *find(struct agent *agent, struct str key)
{
    struct watch *watch = agent->watches.first;

    while (watch && !str_eq(buf_str(&watch->key), key))
        watch = watch->next;
    return watch;
}

/* The patterns out of the key, which outlives the request. */
static int take_patterns(struct watch *watch, const struct watch_spec *spec)
{
    const char *p = buf_head(&watch->key), *end = p + watch->key.len;

    if (spec->pattern_count == 0)
        return 0;
    watch->patterns = reallocarray(NULL, spec->pattern_count, sizeof(watch->patterns[0]));
    if (!watch->patterns)
        return -1;
    p += strlen(p) + 1;
    p += strlen(p) + 1;
    for (; p < end; p += strlen(p) + 1) {
        watch->patterns[watch->pattern_count] = str_from(p);
        if (memchr(p, '/', watch->patterns[watch->pattern_count++].n))
            watch->tree.rescan_moved = !spec->including;
    }
    return 0;
}

static struct watch *new_watch(struct agent *agent, const struct watch_spec *spec, struct buf *key,
                               struct berm_error *err)
{
    static const struct watch_tree_events events = { on_tree_ready, on_tree_event, on_tree_lost, on_tree_end,
                                                     skip };
    struct watch *watch;

    if (agent->watches.count >= WATCHES_MAX) {
        berm_fail(err, BERM_E_SYSTEM, 0, "there are %d watches already", WATCHES_MAX);
        return NULL;
    }
    watch = calloc(1, sizeof(*watch));
    if (!watch) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "watch");
        return NULL;
    }
    watch->agent = agent;
    watch->kinds = spec->kinds;
    watch->including = spec->including;
    watch->free_later.callback = on_free_later;
    loop_timer_init(&watch->retain_timer, on_retain_timer);
    if (watch_tree_start(&watch->tree, &agent->watches.notify, spec->path, spec->recursive, &events, err) < 0) {
        free(watch);
        return NULL;
    }
    watch->key = *key;
    *key = (struct buf){ 0 };
    if (take_patterns(watch, spec) < 0) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "watch");
        free_watch(watch);
        return NULL;
    }
    set_id(watch);
    watch->next = agent->watches.first;
    agent->watches.first = watch;
    agent->watches.count++;
    watch->listed = true;
    return watch;
}

int watch_join(struct agent *agent, const struct watch_spec *spec, struct watch_user *user, bool *ret_created,
               struct berm_error *err)
{
    _cleanup_(buf_free) struct buf key;
    struct watch *watch;

    if (build_key(&key, spec) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "watch");
    watch = find(agent, buf_str(&key));
    *ret_created = !watch;
    if (!watch)
        watch = new_watch(agent, spec, &key, err);
    if (!watch)
        return -1;
    user->watch = watch;
    user->next = watch->users;
    user->place = &watch->users;
    if (user->next)
        user->next->place = &user->next;
    watch->users = user;
    settle_life(watch);
    return 0;
}

void watch_leave(struct watch_user *user)
{
    struct watch *watch = user->watch;

    if (!watch)
        return;
    detach(user);
    settle_life(watch);
}

bool watch_is_ready(const struct watch *watch)
{
    return watch->tree.ready;
}

const char *watch_path(const struct watch *watch)
{
    return watch->tree.path;
}

const char *watch_id(const struct watch *watch)
{
    return watch->id;
}

uint64_t watch_event_count(const struct watch *watch)
{
    return watch->events;
}

void watch_retain(struct watch *watch)
{
    watch->retained = true;
    settle_life(watch);
}
