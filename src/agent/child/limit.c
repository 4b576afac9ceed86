#include "limit.h"

#include "procfs.h"

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t offset;
    bool by_proc; /* held by looking at /proc */
} numbers[] = {
    { "cpuMs", offsetof(struct limits, cpu_ms), true },
    { "memory", offsetof(struct limits, memory), true },
    { "pids", offsetof(struct limits, pids), true },
    { "wallMs", offsetof(struct limits, wall_ms), false },
    { "outputBytes", offsetof(struct limits, output_bytes), false },
};

static int fail(struct berm_error *err, struct str name, const char *problem)
{
    char field[64];

    snprintf(field, sizeof(field), "limits.%.*s", (int)MIN(name.n, (size_t)48), name.p);
    return berm_fail_field(err, field, "%s", problem);
}

static int take_number(struct limits *limits, size_t i, const struct json_member *member, struct berm_error *err)
{
    if (member->value.type != JSON_INT || member->value.integer < 1 || member->value.integer == LIMIT_NONE)
        return fail(err, member->key, "must be a whole number above 0");
    if (numbers[i].by_proc && !proc_tells_children())
        return fail(err, member->key, "cannot be enforced here: /proc does not tell a process's children");
    memcpy((char *)limits + numbers[i].offset, &member->value.integer, sizeof(int64_t));
    return 0;
}

static int take_member(struct limits *limits, const struct json_member *member, struct berm_error *err)
{
    if (member->value.type == JSON_NULL)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        if (str_is(member->key, numbers[i].name))
            return take_number(limits, i, member, err);
    if (!str_is(member->key, "network"))
        return fail(err, member->key, "is no limit that there is");
    if (member->value.type != JSON_BOOL)
        return fail(err, member->key, "must be true or false");
    limits->no_network = !member->value.boolean;
    return 0;
}

int limits_from_json(const struct json *body, struct limits *ret, bool *ret_given, struct berm_error *err)
{
    const struct json *object = NULL;
    struct limits limits = { LIMIT_NONE, LIMIT_NONE, LIMIT_NONE, LIMIT_NONE, LIMIT_NONE, false };

    *ret_given = false;
    if (json_field_object(body, "limits", &object, err) < 0)
        return -1;
    if (!object)
        return 0;
    for (size_t i = 0; i < object->object.count; i++)
        if (take_member(&limits, &object->object.members[i], err) < 0)
            return -1;
    *ret = limits;
    *ret_given = true;
    return 0;
}

static void put_figure(struct json_writer *w, const char *key, bool known, uint64_t value)
{
    if (known) {
        json_pair_int(w, key, (int64_t)MIN(value, (uint64_t)INT64_MAX));
        return;
    }
    json_key(w, key);
    json_null(w);
}

void usage_put(struct json_writer *w, const struct usage *usage)
{
    static const char *const reasons[] = { "exited", "killed", "timeout", "cpuMs",
                                           "memory", "pids",   "wallMs",  "outputBytes" };

    json_key(w, "usage");
    json_object_begin(w);
    /* Rounded up: nothing that ran has used none. */
    put_figure(w, "cpuMs", usage->measured, (usage->cpu_us + 999) / 1000);
    put_figure(w, "maxRss", usage->measured, usage->max_rss);
    put_figure(w, "ioBytes", usage->measured, usage->io_bytes);
    put_figure(w, "netBytes", usage->no_network || usage->net_known, usage->net_bytes);
    json_pair_cstring(w, "reason", reasons[usage->reason]);
    json_object_end(w);
}
