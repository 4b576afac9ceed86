/* docker_stats.c - stats: what containers use, once or every second. */
#include "cli/docker.h"
#include "cli/units.h"

#include <poll.h>

#define SHOWN_MAX 256

struct usage {
    double cpu, system; /* ns */
    int64_t memory, limit, pids;
    const char *name, *path;
    bool known;
};

static double number(const struct json *object, const char *key)
{
    const struct json *value = json_get(object, key);

    return value && value->type == JSON_INT ? (double)value->integer : 0;
}

static void take_usage(const struct json *answer, struct usage *usage)
{
    const struct json *cpu = json_get(answer, "cpu_stats"), *memory = json_get(answer, "memory_stats");

    usage->cpu = number(json_get(cpu, "cpu_usage"), "total_usage");
    usage->system = number(cpu, "system_cpu_usage") / MAX(number(cpu, "online_cpus"), 1);
    usage->memory = (int64_t)number(memory, "usage");
    usage->limit = (int64_t)number(memory, "limit");
    usage->pids = (int64_t)number(json_get(answer, "pids_stats"), "current");
    usage->known = true;
}

static void read_usage(struct docker_cli *docker, struct arena *arena, struct usage *usage)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("GET", usage->path);
    const struct json *answer = NULL;

    usage->known = false;
    if (docker_ask(docker, &call) == 0 && call.status == 200 &&
        json_parse(arena, buf_str(&call.answer), 16, &answer, NULL) == 0)
        take_usage(answer, usage);
}

static void add_row(struct table *table, struct arena *arena, const struct usage *before, const struct usage *now)
{
    char used[SIZE_TEXT_MAX], limit[SIZE_TEXT_MAX];
    double percent =
        now->system > before->system ? 100 * (now->cpu - before->cpu) / (now->system - before->system) : 0;

    if (!before->known || !now->known) {
        table_row(table, (const char *const[]){ now->name, NULL, NULL, NULL });
        return;
    }
    table_row(table, (const char *const[]){ now->name, arena_printf(arena, "%.2f%%", percent),
                                            arena_printf(arena, "%s / %s", format_size((uint64_t)now->memory, used),
                                                         format_size((uint64_t)now->limit, limit)),
                                            arena_printf(arena, "%lld", (long long)now->pids) });
}

static int print(struct arena *arena, const struct usage *before, const struct usage *now, size_t count)
{
    static const char *const header[] = { "NAME", "CPU %", "MEM USAGE / LIMIT", "PIDS" };
    struct table table;

    table_init(&table, arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < count; i++)
        add_row(&table, arena, &before[i], &now[i]);
    return table_print(&table, stdout) < 0 || fflush(stdout) != 0 ? STATUS_FAILED : STATUS_OK;
}

/* Those that were named, or all that run. */
static size_t choose(struct docker_cli *docker, const struct cli_operands *operands, const char **names)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("GET", "/containers/json");
    const struct json *list;
    size_t count = 0;

    for (int i = 0; i < operands->count && count < SHOWN_MAX; i++)
        names[count++] = operands->items[i];
    if (operands->count > 0 || docker_do(docker, &call) < 0 || !(list = docker_json(docker, &call)) ||
        list->type != JSON_ARRAY)
        return count;
    for (size_t i = 0; i < list->array.count && count < SHOWN_MAX; i++) {
        const struct json *shown = json_get(&list->array.items[i], "Names");

        if (shown && shown->type == JSON_ARRAY && shown->array.count > 0 &&
            shown->array.items[0].type == JSON_STRING && shown->array.items[0].string.n > 1)
            names[count++] = shown->array.items[0].string.p + 1;
    }
    return count;
}

static void name_all(struct docker_cli *docker, const struct cli_operands *operands, struct usage *usage,
                     size_t *ret_count)
{
    const char *names[SHOWN_MAX];

    *ret_count = choose(docker, operands, names);
    for (size_t i = 0; i < *ret_count; i++) {
        usage[i].name = names[i];
        usage[i].path =
            docker_path(docker, "/containers/%s/stats?stream=0&one-shot=1", docker_encode(docker, names[i]));
    }
}

int docker_cmd_stats(struct docker_cli *docker, int argc, char **argv)
{
    struct stats_args {
        bool once;
    } args = { 0 };
    static const struct docker_flag flags[] = { { 0, "no-stream", FLAG_ON, offsetof(struct stats_args, once) },
                                                DOCKER_FLAGS_END };
    static struct usage before[SHOWN_MAX], now[SHOWN_MAX];
    struct cli_operands operands;
    bool first = true;
    size_t count;
    int status = STATUS_OK;

    if (docker_flags(docker, flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    name_all(docker, &operands, now, &count);
    for (; status == STATUS_OK; first = false) {
        struct arena arena; /* of one round: there may be many */

        arena_init(&arena, (size_t)16 << 20);
        for (size_t i = 0; i < count; i++)
            read_usage(docker, &arena, &now[i]);
        if (!first)
            status = print(&arena, before, now, count);
        arena_free(&arena);
        if (!first && args.once)
            break;
        memcpy(before, now, sizeof(before));
        poll(NULL, 0, 1000); /* what is shown is what was used within a second */
    }
    return status == STATUS_OK ? STATUS_OK : docker_fail(docker, "cannot write: %s", strerror(errno));
}
