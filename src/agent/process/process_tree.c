#include "process_tree.h"

#include "base/sys.h"
#include "process_mark.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENTRIES_MAX ((size_t)65536)

void proc_snapshot_free(struct proc_snapshot *snapshot)
{
    free(snapshot->entries);
    *snapshot = (struct proc_snapshot){ 0 };
}

static bool take_number(struct str *rest, pid_t *ret)
{
    uint64_t number;
    size_t n = 0;

    while (rest->n > 0 && *rest->p == ' ')
        *rest = (struct str){ rest->p + 1, rest->n - 1 };
    while (n < rest->n && rest->p[n] != ' ')
        n++;
    if (str_to_u64((struct str){ rest->p, n }, &number) < 0 || number > INT32_MAX)
        return false;
    *ret = (pid_t)number;
    *rest = (struct str){ rest->p + n, rest->n - n };
    return true;
}

/* "12 (name) S 1 12 12 ...": the name may hold anything, also ')' and newlines, so the last ')' counts. */
bool proc_parse_stat(struct str line, struct proc_entry *ret)
{
    const char *close = memrchr(line.p, ')', line.n);
    struct str rest = line;

    if (!close || !take_number(&rest, &ret->pid))
        return false;
    rest = (struct str){ close + 1, line.n - (size_t)(close + 1 - line.p) };
    if (rest.n < 3 || rest.p[0] != ' ')
        return false;
    ret->state = rest.p[1];
    rest = (struct str){ rest.p + 2, rest.n - 2 };
    return take_number(&rest, &ret->parent) && take_number(&rest, &ret->group) && take_number(&rest, &ret->session);
}

static int append(struct proc_snapshot *snapshot, const struct proc_entry *entry)
{
    if (snapshot->count == snapshot->cap) {
        size_t cap = snapshot->cap ? snapshot->cap * 2 : 64;
        struct proc_entry *entries = reallocarray(snapshot->entries, cap, sizeof(*entries));
        if (!entries)
            return -1;
        snapshot->entries = entries;
        snapshot->cap = cap;
    }
    snapshot->entries[snapshot->count++] = *entry;
    return 0;
}

static int read_entry(int proc, const char *name, struct proc_snapshot *snapshot)
{
    char path[32], text[1024];
    struct proc_entry entry = { 0 };
    ssize_t n;

    if (name[0] < '1' || name[0] > '9')
        return 0;
    snprintf(path, sizeof(path), "%.16s/stat", name);
    n = read_small_file(proc, path, text, sizeof(text));
    if (n <= 0 || !proc_parse_stat((struct str){ text, (size_t)n }, &entry))
        return 0; /* it is gone */
    if (entry.parent == getpid())
        entry.mark = process_mark_of(entry.pid);
    return append(snapshot, &entry);
}

static int by_pid(const void *a, const void *b)
{
    pid_t x = ((const struct proc_entry *)a)->pid, y = ((const struct proc_entry *)b)->pid;

    return (x > y) - (x < y);
}

int proc_snapshot_take(struct proc_snapshot *snapshot)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    int rc = 0;

    *snapshot = (struct proc_snapshot){ 0 };
    if (!dir)
        return -1;
    while (rc == 0 && snapshot->count < ENTRIES_MAX && (entry = readdir(dir)))
        rc = read_entry(dirfd(dir), entry->d_name, snapshot);
    closedir(dir);
    if (rc < 0) {
        proc_snapshot_free(snapshot);
        errno = ENOMEM;
        return -1;
    }
    if (snapshot->count > 0)
        qsort(snapshot->entries, snapshot->count, sizeof(*snapshot->entries), by_pid);
    return 0;
}

static size_t find(const struct proc_snapshot *snapshot, pid_t pid)
{
    size_t low = 0, high = snapshot->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (snapshot->entries[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < snapshot->count && snapshot->entries[low].pid == pid ? low : snapshot->count;
}

static bool is_member(const struct proc_snapshot *snapshot, const bool *member, pid_t pid)
{
    size_t i = find(snapshot, pid);

    return i < snapshot->count && member[i];
}

/* Whether one of those that belong already brings this one with it. */
static bool belongs(const struct proc_snapshot *snapshot, const bool *member, const struct proc_entry *entry,
                    const struct proc_wanted *wanted)
{
    return (wanted->session > 0 && entry->session == wanted->session) ||
           (wanted->mark != PROCESS_MARK_NONE && entry->mark == wanted->mark) ||
           is_member(snapshot, member, entry->parent) || is_member(snapshot, member, entry->group);
}

static void add(const struct proc_snapshot *snapshot, size_t i, bool *member, size_t *tree, size_t *ret_count)
{
    char state = snapshot->entries[i].state;

    member[i] = true;
    if (state != 'Z' && state != 'X')
        tree[(*ret_count)++] = i;
}

static void add_roots(const struct proc_snapshot *snapshot, const struct proc_wanted *wanted, bool *member,
                      size_t *tree, size_t *ret_count)
{
    for (size_t k = 0; k < wanted->root_count; k++) {
        size_t i = find(snapshot, wanted->roots[k]);
        if (i < snapshot->count && !member[i])
            add(snapshot, i, member, tree, ret_count);
    }
}

static void add_the_rest(const struct proc_snapshot *snapshot, const struct proc_wanted *wanted, bool *member,
                         size_t *tree, size_t *ret_count)
{
    pid_t self = getpid();
    bool grown = true;

    while (grown) {
        grown = false;
        for (size_t i = 0; i < snapshot->count; i++) {
            const struct proc_entry *entry = &snapshot->entries[i];
            if (member[i] || entry->pid == self || !belongs(snapshot, member, entry, wanted))
                continue;
            add(snapshot, i, member, tree, ret_count);
            grown = true;
        }
    }
}

size_t *proc_snapshot_tree(const struct proc_snapshot *snapshot, const struct proc_wanted *wanted,
                           size_t *ret_count)
{
    size_t count = MAX(snapshot->count, (size_t)1);
    bool *member = calloc(count, sizeof(*member));
    size_t *tree = member ? calloc(count, sizeof(*tree)) : NULL;

    *ret_count = 0;
    if (tree) {
        add_roots(snapshot, wanted, member, tree, ret_count);
        add_the_rest(snapshot, wanted, member, tree, ret_count);
    }
    free(member);
    return tree;
}
