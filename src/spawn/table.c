/*
 * table.c - the sandboxes, found by key and by pid.
 */
#include "worker.h"

static uint32_t key_bucket(uint64_t key)
{
    return (uint32_t)(key ^ key >> 32) & (TABLE_SIZE - 1); /* keys are random */
}

static uint32_t pid_bucket(pid_t pid)
{
    return (uint32_t)pid & (TABLE_SIZE - 1);
}

struct sandbox *table_find(struct worker *w, uint64_t key)
{
    struct sandbox *s = w->by_key[key_bucket(key)];

    while (s && s->key != key)
        s = s->next_by_key;
    return s;
}

struct sandbox *table_find_pid(struct worker *w, pid_t pid)
{
    struct sandbox *s = w->by_pid[pid_bucket(pid)];

    while (s && s->pid != pid)
        s = s->next_by_pid;
    return s;
}

struct sandbox *table_add(struct worker *w, uint64_t key)
{
    struct sandbox *s = calloc(1, sizeof(*s));
    struct sandbox **bucket = &w->by_key[key_bucket(key)];

    if (!s)
        return NULL;
    s->worker = w;
    s->key = key;
    s->index = RANGE_NONE;
    s->pidfd = -EBADF;
    s->egress = (struct egress_sockets){ -EBADF, -EBADF };
    s->status_io.fd = -EBADF;
    loop_timer_init(&s->deadline, NULL); /* so that it can be stopped; whoever starts it sets what it does */
    loop_timer_init(&s->abort_again, sandbox_abort_again);
    s->next_by_key = *bucket;
    *bucket = s;
    w->count++;
    return s;
}

void table_set_pid(struct sandbox *s, pid_t pid)
{
    struct sandbox **bucket = &s->worker->by_pid[pid_bucket(pid)];

    s->pid = pid;
    s->next_by_pid = *bucket;
    *bucket = s;
}

void table_clear_pid(struct sandbox *s)
{
    struct sandbox **link = &s->worker->by_pid[pid_bucket(s->pid)];

    if (s->pid == 0)
        return;
    while (*link != s)
        link = &(*link)->next_by_pid;
    *link = s->next_by_pid;
    s->pid = 0;
    loop_timer_stop(s->worker->loop, &s->abort_again);
}

void table_remove(struct sandbox *s)
{
    struct sandbox **link = &s->worker->by_key[key_bucket(s->key)];

    table_clear_pid(s);
    while (*link != s)
        link = &(*link)->next_by_key;
    *link = s->next_by_key;
    s->worker->count--;
    egress_close(&s->egress);
    free(s);
}

void table_each(struct worker *w, void (*callback)(struct sandbox *s, void *data), void *data)
{
    for (size_t i = 0; i < TABLE_SIZE; i++)
        for (struct sandbox *s = w->by_key[i]; s; s = s->next_by_key)
            callback(s, data);
}
