#include "daemon/settings.h"

#include "base/fault.h"
#include "base/log.h"
#include "daemon/sandbox_egress.h"

/* Owned copies: the request that asked may go away while berm-spawn sets the limits. */
struct settings_change {
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

int settings_take(struct sandbox_row *row, const struct sandbox_settings *settings)
{
    row->env = strdup(settings && settings->env ? settings->env : "{}");
    row->labels = strdup(settings && settings->labels ? settings->labels : "{}");
    row->egress = strdup(settings && settings->egress ? settings->egress : "");
    if (!row->env || !row->labels || !row->egress)
        return -1;
    if (!settings)
        return 0;
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

/* NULL without memory, or (with *ret_same) when nothing would change. */
static struct settings_change *plan(const struct sandbox *sandbox, const struct sandbox_settings *settings,
                                    bool *ret_same)
{
    const struct sandbox_row *row = &sandbox->row;
    struct settings_change *change = calloc(1, sizeof(*change));

    *ret_same = false;
    if (!change)
        return NULL;
    change->limits = row->limits;
    merge_limits(&change->limits, &settings->limits);
    change->sleep_after_ms = settings->sleep_after_ms ? settings->sleep_after_ms : row->sleep_after_ms;
    change->keep_alive = settings->has_keep_alive ? settings->keep_alive : row->keep_alive;
    if (settings->env && strcmp(settings->env, row->env) && !(change->env = strdup(settings->env)))
        goto fail;
    if (settings->labels && strcmp(settings->labels, row->labels) && !(change->labels = strdup(settings->labels)))
        goto fail;
    if (settings->egress && strcmp(settings->egress, row->egress) && !(change->egress = strdup(settings->egress)))
        goto fail;
    if (!limits_equal(&change->limits, &row->limits) || change->env || change->labels || change->egress ||
        change->sleep_after_ms != row->sleep_after_ms || change->keep_alive != row->keep_alive)
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

    sandbox->row.limits = change->limits;
    sandbox->row.sleep_after_ms = change->sleep_after_ms;
    sandbox->row.keep_alive = change->keep_alive;
    if (change->env)
        sandbox->row.env = change->env;
    if (change->labels)
        sandbox->row.labels = change->labels;
    if (change->egress)
        sandbox->row.egress = change->egress;
    if (store_put_sandbox(sandbox->daemon->store, &sandbox->row, 0,
                          &(struct store_event){ clock_realtime_ms(), "configured", "" }, &err) < 0) {
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
    change = plan(sandbox, settings, &same);
    if (!change) {
        berm_fail(&err, BERM_E_SYSTEM, ENOMEM, "settings");
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
