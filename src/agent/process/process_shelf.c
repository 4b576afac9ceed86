#include "process_shelf.h"

#include "agent/agent.h"
#include "agent/child/limit.h"

#define RECORD_MAX ((size_t)1024 * 1024) /* a longer command stays in memory */
#define NONE       UINT32_MAX

/* In the archive; the texts follow: id, command, session. */
struct shelved {
    uint32_t id_n, command_n, session_n; /* session_n NONE: without a session */
    int32_t pid;
    enum process_status status;
    bool by_lines, has_exit_code, has_usage;
    int exit_code;
    int64_t start_ms, end_ms;
    struct usage usage;
    struct byte_log_place_kept logs[STREAM_COUNT];
};

static struct byte_store *store_of(struct agent *agent)
{
    return &agent->processes.store;
}

static uint32_t hash_of(struct str id)
{
    return (uint32_t)hash_text(id);
}

void process_shelf_free(struct process_shelf *shelf)
{
    free(shelf->places);
    *shelf = (struct process_shelf){ 0 };
}

/* --- putting --- */

static bool make_room(struct process_shelf *shelf)
{
    size_t cap = shelf->cap ? shelf->cap * 2 : 64;
    struct shelf_place *places;

    if (shelf->count < shelf->cap)
        return true;
    places = reallocarray(shelf->places, cap, sizeof(*places));
    if (!places)
        return false;
    shelf->places = places;
    shelf->cap = cap;
    return true;
}

static struct shelved describe(const struct process *process)
{
    struct shelved shelved;

    memset(&shelved, 0, sizeof(shelved)); /* padding is written, too */
    shelved.id_n = (uint32_t)strlen(process->id);
    shelved.command_n = (uint32_t)process->command.n;
    shelved.session_n = process->session_id ? (uint32_t)strlen(process->session_id) : NONE;
    shelved.pid = process->pid;
    shelved.status = process->status;
    shelved.by_lines = process->by_lines;
    shelved.has_exit_code = process->has_exit_code;
    shelved.exit_code = process->exit_code;
    shelved.start_ms = process->start_ms;
    shelved.end_ms = process->end_ms;
    shelved.has_usage = process->usage != NULL;
    if (process->usage)
        shelved.usage = *process->usage;
    for (int i = 0; i < STREAM_COUNT; i++)
        shelved.logs[i] = byte_log_kept_place(&process->logs[i]);
    return shelved;
}

static bool write_record(struct byte_store *store, const struct process *process, struct shelf_place *ret)
{
    const struct shelved shelved = describe(process);
    struct buf out;
    bool done = false;

    buf_init(&out, RECORD_MAX);
    if (buf_append(&out, &shelved, sizeof(shelved)) == 0 && buf_append(&out, process->id, shelved.id_n) == 0 &&
        buf_append_str(&out, process->command) == 0 &&
        (!process->session_id || buf_append(&out, process->session_id, shelved.session_n) == 0)) {
        *ret = (struct shelf_place){ .hash = hash_of(str_from(process->id)), .n = (uint32_t)out.len };
        done = byte_store_put(store, buf_head(&out), out.len, &ret->at);
    }
    buf_free(&out);
    return done;
}

bool process_shelf_put(struct agent *agent, struct process *process)
{
    struct process_shelf *shelf = &agent->processes.shelf;

    if (!make_room(shelf))
        return false;
    if (process->shelf_place.n == 0) {
        for (int i = 0; i < STREAM_COUNT; i++)
            if (!byte_log_put_away(&process->logs[i]))
                return false;
        if (!write_record(store_of(agent), process, &process->shelf_place))
            return false;
    }
    shelf->places[shelf->count++] = process->shelf_place;
    process->shelf_place.n = 0; /* it stays where it is */
    for (int i = 0; i < STREAM_COUNT; i++)
        byte_log_leave(&process->logs[i]);
    process_unref(process);
    return true;
}

/* --- taking --- */

static char *copy_text(const char **at, size_t n)
{
    char *copy = str_dup((struct str){ *at, n });

    *at += n;
    return copy;
}

static bool fill(struct process *process, const struct shelved *shelved, const char *texts)
{
    process->id = copy_text(&texts, shelved->id_n);
    process->command = (struct str){ copy_text(&texts, shelved->command_n), shelved->command_n };
    if (shelved->session_n != NONE)
        process->session_id = copy_text(&texts, shelved->session_n);
    if (shelved->has_usage && (process->usage = malloc(sizeof(shelved->usage))))
        *process->usage = shelved->usage;
    process->pid = shelved->pid;
    process->status = shelved->status;
    process->by_lines = shelved->by_lines;
    process->has_exit_code = shelved->has_exit_code;
    process->exit_code = shelved->exit_code;
    process->start_ms = shelved->start_ms;
    process->end_ms = shelved->end_ms;
    return process->id && process->command.p && (process->session_id || shelved->session_n == NONE) &&
           (process->usage || !shelved->has_usage);
}

static struct process *make(struct agent *agent, struct shelf_place place, const char *record)
{
    struct process *process = calloc(1, sizeof(*process));
    struct shelved shelved;

    if (!process)
        return NULL;
    memcpy(&shelved, record, sizeof(shelved));
    process->refs = 1;
    process->agent = agent;
    process->shelf_place = place;
    for (int i = 0; i < STREAM_COUNT; i++)
        byte_log_init(&process->logs[i], store_of(agent), 0);
    if (!fill(process, &shelved, record + sizeof(shelved))) {
        process->shelf_place.n = 0;
        process_unref(process);
        return NULL;
    }
    for (int i = 0; i < STREAM_COUNT; i++)
        byte_log_come_back(&process->logs[i], &shelved.logs[i]);
    return process;
}

static struct process *load(struct agent *agent, struct shelf_place place)
{
    char *record = malloc(place.n);
    struct process *process = NULL;

    if (record && byte_store_get(store_of(agent), place.at, record, place.n))
        process = make(agent, place, record);
    free(record);
    return process;
}

/* What load() has made, and the shelf still has. */
static void unload(struct process *process)
{
    process->shelf_place.n = 0;
    for (int i = 0; i < STREAM_COUNT; i++)
        byte_log_leave(&process->logs[i]);
    process_unref(process);
}

static void remove_place(struct process_shelf *shelf, size_t i)
{
    shelf->count--;
    memmove(&shelf->places[i], &shelf->places[i + 1], (shelf->count - i) * sizeof(shelf->places[0]));
}

struct process *process_shelf_take(struct agent *agent, struct str id)
{
    struct process_shelf *shelf = &agent->processes.shelf;
    uint32_t hash = hash_of(id);

    for (size_t i = shelf->count; i-- > 0;) {
        struct process *process = shelf->places[i].hash == hash ? load(agent, shelf->places[i]) : NULL;
        if (!process)
            continue;
        if (str_is(id, process->id)) {
            remove_place(shelf, i);
            return process;
        }
        unload(process);
    }
    return NULL;
}

void process_shelf_drop_first(struct agent *agent)
{
    struct process_shelf *shelf = &agent->processes.shelf;
    struct shelf_place place = shelf->places[0];
    struct process *process = load(agent, place);

    remove_place(shelf, 0);
    if (process)
        process_unref(process); /* with its room in the archive */
    else
        byte_store_drop(store_of(agent), place.at, place.n);
}

void process_shelf_each(struct agent *agent, void (*callback)(const struct process *process, void *data),
                        void *data)
{
    const struct process_shelf *shelf = &agent->processes.shelf;

    for (size_t i = 0; i < shelf->count; i++) {
        struct process *process = load(agent, shelf->places[i]);
        if (!process)
            continue;
        callback(process, data);
        unload(process);
    }
}
