/* process_table.c - which processes there are: those that run, those that have ended, and how many of them stay. */
#include "agent/agent.h"
#include "process_mark.h"
#include "process_run.h"

#define FILE_BUDGET   ((uint64_t)1024 * 1024 * 1024) /* of the sandbox's disk, for all kept output */
#define MEMORY_BUDGET ((size_t)256 * 1024)           /* for the output of processes that have ended */
#define LOG_LIMIT     ((uint64_t)256 * 1024 * 1024)  /* of each stream of each process */

/* The output of what has ended first, and that nobody is reading, goes before that of what runs is cut short. */
static bool reclaim(struct byte_store *store)
{
    struct process_table *table = container_of(store, struct process_table, store);

    for (struct process *process = table->ended.first; process; process = process->next)
        for (int i = 0; process->refs == 1 && i < STREAM_COUNT; i++)
            if (process->logs[i].file_bytes >= BYTE_LOG_LIMIT_MIN) {
                byte_log_drop(&process->logs[i]);
                return true;
            }
    return false;
}

static uint64_t log_limit(const struct agent *agent)
{
    const char *text = env_get(&agent->env, "BERM_PROCESS_LOG_BYTES");
    uint64_t bytes;

    return text && str_to_u64(str_from(text), &bytes) == 0 ? bytes : LOG_LIMIT;
}

void process_table_init(struct agent *agent)
{
    struct process_table *table = &agent->processes;
    uint64_t start;

    *table = (struct process_table){ .log_limit = log_limit(agent) };
    table->running.tail = &table->running.first;
    table->ended.tail = &table->ended.first;
    byte_store_init(&table->store, env_get(&agent->env, "TMPDIR"), FILE_BUDGET, MEMORY_BUDGET);
    table->store.reclaim = reclaim;
    /* Another agent may run inside of this one's sandbox, and have processes of its own. */
    random_bytes(&start, sizeof(start));
    table->last_mark = PROCESS_MARK_FIRST + start % PROCESS_MARK_FIRST;
}

static struct process **bucket_of(struct process_table *table, struct str id)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < id.n; i++)
        hash = (hash ^ (unsigned char)id.p[i]) * 16777619U;
    return &table->buckets[hash % PROCESS_BUCKETS];
}

static struct process *look_up(struct process_table *table, struct str id)
{
    for (struct process *process = *bucket_of(table, id); process; process = process->same_bucket)
        if (str_is(id, process->id))
            return process;
    return NULL;
}

static void list_append(struct process_list *list, struct process *process)
{
    process->next = NULL;
    process->prev = list->tail;
    *list->tail = process;
    list->tail = &process->next;
    list->count++;
}

static void list_remove(struct process_list *list, struct process *process)
{
    *process->prev = process->next;
    if (process->next)
        process->next->prev = process->prev;
    else
        list->tail = process->prev;
    list->count--;
}

static void unlist(struct process *process)
{
    struct process **at = bucket_of(&process->agent->processes, str_from(process->id));

    if (!process->listed)
        return;
    while (*at != process)
        at = &(*at)->same_bucket;
    *at = process->same_bucket;
    process->listed = false;
}

/* --- who is where --- */

static size_t kept_size(const struct process *process)
{
    return sizeof(*process) + strlen(process->id) + process->command.n +
           (process->session_id ? strlen(process->session_id) : 0);
}

static void list_by_id(struct process *process)
{
    struct process **bucket = bucket_of(&process->agent->processes, str_from(process->id));

    process->same_bucket = *bucket;
    *bucket = process;
    process->listed = true;
}

static void list_ended(struct process *process)
{
    struct process_table *table = &process->agent->processes;

    list_append(&table->ended, process);
    table->kept_bytes += kept_size(process);
}

/* The reference of the lists is the caller's now. */
static void unlist_ended(struct process *process)
{
    struct process_table *table = &process->agent->processes;

    unlist(process);
    list_remove(&table->ended, process);
    table->kept_bytes -= kept_size(process);
}

static void forget(struct process *process)
{
    unlist_ended(process);
    process_unref(process);
}

static struct process *find(struct agent *agent, struct str id)
{
    struct process *process = look_up(&agent->processes, id);

    if (process)
        return process;
    process = process_shelf_take(agent, id);
    if (process) {
        list_by_id(process);
        list_ended(process);
    }
    return process;
}

void process_table_add(struct process *process, bool may_be_there)
{
    struct agent *agent = process->agent;
    struct str id = str_from(process->id);
    struct process *before = may_be_there ? find(agent, id) : look_up(&agent->processes, id);

    if (before)
        before->run ? unlist(before) : forget(before);
    list_by_id(process);
    list_append(&agent->processes.running, process);
}

struct process *process_find(struct agent *agent, struct str id)
{
    process_refresh(agent);
    return find(agent, id);
}

void process_table_free(struct agent *agent)
{
    struct process_table *table = &agent->processes;

    while (table->ended.first)
        forget(table->ended.first);
    process_shelf_free(&table->shelf);
}

/* --- how many stay --- */

/* False: it cannot go. What reclaim() may take has to stay in its sight. */
static bool shelve(struct process *process)
{
    for (int i = 0; i < STREAM_COUNT; i++)
        process->stays |= process->logs[i].end - process->logs[i].start >= BYTE_LOG_LIMIT_MIN;
    if (process->stays)
        return false;
    unlist_ended(process);
    if (process_shelf_put(process->agent, process))
        return true;
    list_by_id(process);
    list_ended(process);
    return false;
}

/* One more comes with each that ends, so nothing is lost by giving up at the first that cannot go. */
static void shelve_some(struct process_table *table)
{
    struct process *process = table->ended.first, *next;

    for (; process && (table->ended.count > PROCESS_KEEP_NEAR || table->kept_bytes > PROCESS_NEAR_BYTES);
         process = next) {
        next = process->next;
        if (process->refs == 1 && !process->stays && !shelve(process) && !process->stays)
            return;
    }
}

void process_table_move_to_ended(struct process *process)
{
    struct process_table *table = &process->agent->processes;

    list_remove(&table->running, process);
    if (!process->listed) { /* nobody can ask for it */
        process_unref(process);
        return;
    }
    list_ended(process);
}

void process_table_trim(struct agent *agent)
{
    struct process_table *table = &agent->processes;

    shelve_some(table);
    while (table->ended.count + table->shelf.count > PROCESS_KEEP_COUNT)
        table->shelf.count > 0 ? process_shelf_drop_first(agent) : forget(table->ended.first);
    while (table->ended.count > 1 && table->kept_bytes > PROCESS_KEEP_BYTES)
        forget(table->ended.first);
}
