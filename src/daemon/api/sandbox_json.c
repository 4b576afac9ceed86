#include "daemon/api/sandbox_json.h"

#include "base/sys.h"
#include "daemon/egress/egress.h"

const char *sandbox_state_name(enum sandbox_state state)
{
    static const char *const names[] = { "creating", "running", "sleeping", "stopped", "destroyed" };

    return (size_t)state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

static void write_limits(struct json_writer *w, const struct spawn_limits *limits)
{
    json_key(w, "limits");
    json_object_begin(w);
    json_pair_int(w, "memoryBytes", (int64_t)limits->memory_bytes);
    json_pair_int(w, "cpuMillis", limits->cpu_millis);
    json_pair_int(w, "pids", limits->pids);
    json_pair_int(w, "diskBytes", (int64_t)limits->disk_bytes);
    json_pair_int(w, "nofile", limits->nofile);
    json_object_end(w);
}

static void write_time(struct json_writer *w, const char *key, int64_t ms)
{
    char text[25];

    format_timestamp(ms, text);
    json_pair_cstring(w, key, ms ? text : NULL);
}

/* Values of variables may be secrets: names only. */
static void write_stored_objects(struct json_writer *w, const struct sandbox_row *row)
{
    const struct json *env = NULL, *labels = NULL;
    struct arena arena;

    arena_init(&arena, 8 << 20);
    json_key(w, "env");
    json_array_begin(w);
    if (strcmp(row->env, "{}") && json_parse(&arena, str_from(row->env), 4, &env, NULL) == 0)
        for (size_t i = 0; i < env->object.count; i++)
            if (env->object.members[i].value.type == JSON_STRING)
                json_string(w, env->object.members[i].key);
    json_array_end(w);
    json_key(w, "labels");
    if (strcmp(row->labels, "{}") && json_parse(&arena, str_from(row->labels), 4, &labels, NULL) == 0) {
        json_value(w, labels);
    } else {
        json_object_begin(w);
        json_object_end(w);
    }
    arena_free(&arena);
}

static void write_network(struct json_writer *w, const struct egress *egress)
{
    struct egress_counters counters = { 0 };

    if (egress)
        egress_get_counters(egress, &counters);
    json_pair_int(w, "networkBytesIn", (int64_t)counters.bytes_in);
    json_pair_int(w, "networkBytesOut", (int64_t)counters.bytes_out);
}

static void write_usage(struct json_writer *w, const struct sandbox *sandbox, const struct spawn_stat *usage)
{
    json_key(w, "usage");
    if (!usage) {
        json_null(w);
        return;
    }
    json_object_begin(w);
    json_pair_int(w, "memoryBytes", (int64_t)usage->memory_bytes);
    json_pair_int(w, "memoryPeakBytes", (int64_t)usage->memory_peak_bytes);
    json_pair_int(w, "cpuUsec", (int64_t)usage->cpu_usec);
    json_pair_int(w, "diskBytes", (int64_t)usage->disk_bytes);
    json_pair_int(w, "pids", usage->pids);
    json_pair_int(w, "oomKills", usage->oom_kills);
    write_network(w, sandbox->instance.egress);
    json_object_end(w);
}

void sandbox_write_json(struct json_writer *w, const struct sandbox *sandbox, const struct spawn_stat *usage,
                        bool with_usage)
{
    const struct sandbox_row *row = &sandbox->row;
    char digest[7 + 2 * sizeof(row->digest) + 1] = "sha256:";

    hex_encode(row->digest, sizeof(row->digest), digest + 7);
    json_object_begin(w);
    json_pair_cstring(w, "id", row->id);
    json_pair_cstring(w, "name", row->name[0] ? row->name : NULL);
    json_pair_cstring(w, "state", sandbox_state_name(sandbox->state));
    json_pair_int(w, "generation", row->generation);
    json_pair_cstring(w, "image", row->image);
    json_pair_cstring(w, "imageDigest", digest);
    write_limits(w, &row->limits);
    write_stored_objects(w, row);
    json_pair_cstring(w, "network", row->network == SPAWN_NETWORK_EGRESS ? "internet" : "none");
    json_pair_int(w, "sleepAfter", (int64_t)(row->sleep_after_ms / 1000));
    json_pair_bool(w, "keepAlive", row->keep_alive);
    write_time(w, "createdAt", row->created_ms);
    write_time(w, "startedAt", row->started_ms);
    write_time(w, "lastUsedAt", row->last_used_ms);
    json_pair_cstring(w, "endReason", end_reason_name(row->end_reason));
    json_key(w, "exitStatus");
    if (row->end_reason == END_EXITED || row->end_reason == END_SIGNALED)
        json_int(w, row->exit_status);
    else
        json_null(w);
    if (with_usage)
        write_usage(w, sandbox, usage);
    json_object_end(w);
}

void sandbox_write_stats(struct json_writer *w, const struct sandbox *sandbox, const struct spawn_stat *usage)
{
    json_object_begin(w);
    json_pair_cstring(w, "state", sandbox_state_name(sandbox->state));
    json_pair_int(w, "generation", sandbox->row.generation);
    write_time(w, "time", clock_realtime_ms());
    write_limits(w, &sandbox->row.limits);
    write_usage(w, sandbox, usage);
    json_object_end(w);
}
