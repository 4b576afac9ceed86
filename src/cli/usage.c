/* usage.c - the limits of one command, and the receipt of what it used. */
#include "base/json.h"
#include "cli/limit_options.h"
#include "cli/units.h"

const struct berm_exec_limits *limit_request(const struct limit_args *args, struct berm_exec_limits *limits)
{
    bool limited =
        args->cpu_ms || args->wall_ms || args->memory || args->output_bytes || args->pids || args->no_network;

    *limits = (struct berm_exec_limits){ .cpu_ms = args->cpu_ms,
                                         .wall_ms = args->wall_ms,
                                         .memory_bytes = args->memory,
                                         .output_bytes = args->output_bytes,
                                         .pids = args->pids,
                                         .no_network = args->no_network };
    return limited || args->usage ? limits : NULL;
}

static void tell_bytes(const char *what, int64_t bytes)
{
    char text[SIZE_TEXT_MAX];

    if (bytes >= 0)
        fprintf(stderr, ", %s %s", what, format_size((uint64_t)bytes, text));
}

static void put_figure(struct json_writer *w, const char *name, int64_t value)
{
    json_key(w, name);
    if (value < 0)
        json_null(w);
    else
        json_int(w, value);
}

/* One line, in the names of the API. */
static void tell_json(const struct berm_usage *usage)
{
    struct json_writer w;
    struct buf out;

    buf_init(&out, 4096);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    put_figure(&w, "cpuMs", usage->cpu_ms);
    put_figure(&w, "maxRss", usage->max_rss_bytes);
    put_figure(&w, "ioBytes", usage->io_bytes);
    put_figure(&w, "netBytes", usage->net_bytes);
    json_pair_cstring(&w, "reason", usage->reason);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        fprintf(stderr, "%.*s\n", (int)out.len, buf_head(&out));
    buf_free(&out);
}

void tell_usage(const struct limit_args *args, const struct berm_usage *usage)
{
    if (!args->usage || !usage->reason[0])
        return;
    if (args->json) {
        tell_json(usage);
        return;
    }
    fprintf(stderr, "berm: %s", usage->reason);
    if (usage->cpu_ms >= 0)
        fprintf(stderr, ", %lld ms of processor time", (long long)usage->cpu_ms);
    tell_bytes("memory", usage->max_rss_bytes);
    tell_bytes("storage", usage->io_bytes);
    tell_bytes("network", usage->net_bytes);
    fputc('\n', stderr);
}
