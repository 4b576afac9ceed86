#include "daemon/settings.h"

#include "base/fault.h"
#include "base/log.h"
#include "daemon/event_feed.h"
#include "daemon/sandbox_egress.h"

/* Owned copies: the request that asked may go away while berm-spawn sets the limits. */
struct settings_change {
    char name[SANDBOX_NAME_MAX + 1];
    struct spawn_limits limits;
    char *env, *labels, *egress; /* NULL: as they are */
    uint64_t sleep_after_ms;
    bool keep_alive;
    struct sandbox_wait *wait; /* NULL: the client has gone */
};

static void free_change(struct settings_change *change)
{
    if (!change)
        return;
    free(change->env);
    free(change->labels);
    free(change->egress);
    free(change);
}

static void merge_limits(struct spawn_limits *limits, const struct spawn_limits *named)
{
    if (named->memory_bytes)
        limits->memory_bytes = named->memory_bytes;
    if (named->disk_bytes)
        limits->disk_bytes = named->disk_bytes;
    if (named->cpu_millis)
        limits->cpu_millis = named->cpu_millis;
    if (named->pids)
        limits->pids = named->pids;
    if (named->nofile)
        limits->nofile = named->nofile;
}

/* --- maps: labels and environment --- */

struct map {
    const char *field;
    size_t max_members;
    bool keeps_nulls; /* what a running agent was told has to be taken away by name */
    struct str kept;  /* names that begin so are not taken away by a map without them; empty: none */
};

static const struct map env_map = { "env", SANDBOX_ENV_MAX, true, STR_INIT("") };
static const struct map label_map = { "labels", SANDBOX_LABELS_MAX, false, STR_INIT(SANDBOX_LABELS_DOCKER) };

/* `value` NULL: taken away. How many members were written. */
static size_t put_member(const struct map *map, struct json_writer *w, struct str key, const struct json *value)
{
    bool gone = !value || value->type == JSON_NULL;

    if (gone && !map->keeps_nulls)
        return 0;
    json_key_str(w, key);
    if (gone)
        json_null(w);
    else
        json_value(w, value);
    return 1;
}

/* The new members first: so the same call again makes the same text. */
static size_t put_members(const struct map *map, struct json_writer *w, const struct json *now,
                          const struct json *named, bool merge)
{
    size_t count = 0;

    json_object_begin(w);
    for (size_t i = 0; i < named->object.count; i++)
        count += put_member(map, w, named->object.members[i].key, &named->object.members[i].value);
    for (size_t i = 0; i < now->object.count; i++) {
        const struct json_member *member = &now->object.members[i];
        bool stays = merge || (map->kept.n && str_has_prefix(member->key, map->kept));

        if (!json_get(named, member->key.p))
            count += put_member(map, w, member->key, stays ? &member->value : NULL);
    }
    json_object_end(w);
    return count;
}

/* What becomes of `now` by `named` (may be NULL); *ret NULL: it stays as it is. */
static int change_map(const struct map *map, const char *now, const char *named, bool merge, char **ret,
                      struct berm_error *err)
{
    const struct json *before, *wanted;
    struct json_writer w;
    struct arena arena;
    struct buf text;
    size_t count = 0;
    int rc = -1;

    *ret = NULL;
    if (!named)
        return 0;
    arena_init(&arena, 16 << 20);
    buf_init(&text, 8 * SANDBOX_ENV_BYTES_MAX);
    json_writer_init(&w, &text);
    if (json_parse(&arena, str_from(now), 4, &before, err) < 0 ||
        json_parse(&arena, str_from(named), 4, &wanted, err) < 0)
        goto out;
    count = put_members(map, &w, before, wanted, merge);
    if (count > map->max_members || json_writer_finish(&w) < 0) {
        berm_fail_field(err, map->field, "%s has more than %zu members, or they are too large", map->field,
                        map->max_members);
        goto out;
    }
    rc = 0;
    if (!str_is(buf_str(&text), now) && !(*ret = buf_steal(&text, NULL)))
        rc = berm_fail(err, BERM_E_SYSTEM, ENOMEM, "settings");
out:
    buf_free(&text);
    arena_free(&arena);
    return rc;
}

/* Of a new sandbox. NULL without memory. */
static char *first_map(const struct map *map, const char *named)
{
    struct berm_error err;
    char *text;

    if (change_map(map, "{}", named, false, &text, &err) < 0)
        return NULL;
    return text ? text : strdup("{}");
}

int settings_take(struct sandbox_row *row, const struct sandbox_settings *settings)
{
    row->env = first_map(&env_map, settings ? settings->env : NULL);
    row->labels = first_map(&label_map, settings ? settings->labels : NULL);
    row->egress = strdup(settings && settings->egress ? settings->egress : "");
    if (!row->env || !row->labels || !row->egress)
        return -1;
    if (!settings)
        return 0;
    if (settings->name)
        snprintf(row->name, sizeof(row->name), "%s", settings->name);
    merge_limits(&row->limits, &settings->limits);
    if (settings->has_network)
        row->network = settings->network;
    if (settings->image)
        snprintf(row->image, sizeof(row->image), "%s", settings->image);
    if (settings->sleep_after_ms)
        row->sleep_after_ms = settings->sleep_after_ms;
    if (settings->has_keep_alive)
        row->keep_alive = settings->keep_alive;
    return 0;
}

static void finish(struct sandbox *sandbox, struct sandbox_wait *wait, const struct berm_error *err)
{
    if (wait)
        wait->done(wait, err ? NULL : sandbox, err);
}

static void fail(struct sandbox *sandbox, struct sandbox_wait *wait, const char *why)
{
    struct berm_error err;

    berm_fail(&err, BERM_E_CONFLICT, 0, "%s", why);
    finish(sandbox, wait, &err);
}

/* NULL with *err, or (with *ret_same) when nothing would change. */
static struct settings_change *plan(const struct sandbox *sandbox, const struct sandbox_settings *settings,
                                    bool *ret_same, struct berm_error *err)
{
    const struct sandbox_row *row = &sandbox->row;
    struct settings_change *change = calloc(1, sizeof(*change));

    *ret_same = false;
    berm_fail(err, BERM_E_SYSTEM, ENOMEM, "settings");
    if (!change)
        return NULL;
    snprintf(change->name, sizeof(change->name), "%s", settings->name ? settings->name : row->name);
    change->limits = row->limits;
    merge_limits(&change->limits, &settings->limits);
    change->sleep_after_ms = settings->sleep_after_ms ? settings->sleep_after_ms : row->sleep_after_ms;
    change->keep_alive = settings->has_keep_alive ? settings->keep_alive : row->keep_alive;
    if (change_map(&env_map, row->env, settings->env, settings->merge, &change->env, err) < 0 ||
        change_map(&label_map, row->labels, settings->labels, settings->merge, &change->labels, err) < 0)
        goto fail;
    if (settings->egress && strcmp(settings->egress, row->egress) && !(change->egress = strdup(settings->egress)))
        goto fail;
    if (!limits_equal(&change->limits, &row->limits) || change->env || change->labels || change->egress ||
        change->sleep_after_ms != row->sleep_after_ms || change->keep_alive != row->keep_alive ||
        strcmp(change->name, row->name))
        return change;
    *ret_same = true;
fail:
    free_change(change);
    return NULL;
}

/* The limits hold (or nothing runs): the rest is the store's and the agent's. Takes the change. */
static void commit(struct sandbox *sandbox, struct settings_change *change)
{
    struct sandbox_wait *wait = change->wait;
    struct sandbox_row before = sandbox->row;
    bool tell = change->env != NULL;
    struct berm_error err;

    memcpy(sandbox->row.name, change->name, sizeof(change->name));
    sandbox->row.limits = change->limits;
    sandbox->row.sleep_after_ms = change->sleep_after_ms;
    sandbox->row.keep_alive = change->keep_alive;
    if (change->env)
        sandbox->row.env = change->env;
    if (change->labels)
        sandbox->row.labels = change->labels;
    if (change->egress)
        sandbox->row.egress = change->egress;
    if (feed_commit(sandbox, 0, "configured", END_NONE, "", &err) < 0) {
        sandbox->row = before;
        free_change(change);
        finish(sandbox, wait, &err);
        return;
    }
    FAULT_POINT("settings.stored");
    if (change->env)
        change->env = before.env;
    if (change->labels)
        change->labels = before.labels;
    if (change->egress) {
        change->egress = before.egress;
        sandbox_apply_policy(sandbox);
    }
    free_change(change);
    lifecycle_arm_idle(sandbox);
    if ((tell || sandbox->must_configure) && sandbox->state == SANDBOX_RUNNING) {
        sandbox->must_configure = true;
        if (wait)
            list_append(&sandbox->waits, &wait->node);
        lifecycle_tell_environment(sandbox);
    } else {
        finish(sandbox, wait, NULL);
    }
}

static void on_limits_changed(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct sandbox *sandbox = data;
    struct settings_change *change = sandbox->change;
    struct sandbox_wait *wait = change->wait;
    struct berm_error failure = *err;

    (void)reply;
    sandbox->change = NULL;
    FAULT_POINT("settings.limits_set");
    if (failure.code == BERM_OK) {
        commit(sandbox, change);
        return;
    }
    free_change(change);
    berm_error_wrap(&failure, "the limits could not be changed");
    finish(sandbox, wait, &failure);
}

void settings_apply(struct sandbox *sandbox, struct sandbox_wait *wait)
{
    const struct sandbox_settings *settings = wait->settings;
    struct settings_change *change;
    struct berm_error err;
    bool same;

    if (settings->image && strcmp(settings->image, sandbox->row.image)) {
        fail(sandbox, wait, "the sandbox exists with another image");
        return;
    }
    if (settings->has_network && settings->network != sandbox->row.network) {
        fail(sandbox, wait, "the sandbox exists with another network");
        return;
    }
    if (settings->egress && sandbox->row.network == SPAWN_NETWORK_NONE) {
        fail(sandbox, wait, "the sandbox has no network");
        return;
    }
    if (sandbox->change) {
        fail(sandbox, wait, "another call is changing the sandbox");
        return;
    }
    change = plan(sandbox, settings, &same, &err);
    if (!change) {
        finish(sandbox, wait, same ? NULL : &err);
        return;
    }
    change->wait = wait;
    if (sandbox->state != SANDBOX_RUNNING || limits_equal(&change->limits, &sandbox->row.limits)) {
        commit(sandbox, change);
        return;
    }
    sandbox->change = change;
    if (instance_set_limits(sandbox->daemon, sandbox->row.key, &change->limits, on_limits_changed, sandbox, &err) <
        0) {
        sandbox->change = NULL;
        free_change(change);
        finish(sandbox, wait, &err);
    }
}

void settings_cancel(struct sandbox *sandbox, struct sandbox_wait *wait)
{
    if (sandbox->change && sandbox->change->wait == wait)
        sandbox->change->wait = NULL;
}

void settings_abandon(struct sandbox *sandbox)
{
    struct settings_change *change = sandbox->change;

    sandbox->change = NULL;
    if (change && change->wait)
        list_append(&sandbox->waits, &change->wait->node);
    free_change(change);
}
