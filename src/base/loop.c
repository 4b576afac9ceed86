/*
 * loop.c - the epoll loop.
 *
 * An epoll event carries the index of a slot and the slot's generation, not a pointer. Removing a watcher bumps the
 * generation, so an event of the same batch that still names the slot is recognised as stale, also when the slot
 * has been given to a new watcher in the meantime.
 */
#include "loop.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>

#define BATCH 256

struct loop_slot {
    struct loop_io *io; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

#define NO_SLOT UINT32_MAX

struct loop {
    int epoll_fd;
    bool stopping;
    uint64_t now_ms;

    struct loop_slot *slots;
    uint32_t slot_count;
    uint32_t first_free;

    struct loop_timer **heap; /* the next one first */
    size_t heap_count;
    size_t heap_cap;
    uint64_t timers_started;

    struct loop_deferred *deferred_head;
    struct loop_deferred **deferred_tail;
    struct loop_deferred *deferred_running; /* the rest of the list that is being run */

    struct loop_io signal_io;
    void (*signal_callback)(struct loop *, const struct signalfd_siginfo *, void *);
    void *signal_data;
};

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

static void read_clock(struct loop *loop)
{
    loop->now_ms = clock_monotonic_ns() / 1000000;
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (!loop)
        return NULL;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        free(loop);
        return NULL;
    }
    loop->first_free = NO_SLOT;
    loop->deferred_tail = &loop->deferred_head;
    read_clock(loop);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->signal_callback) {
        int fd = loop->signal_io.fd;
        loop_io_remove(loop, &loop->signal_io);
        close(fd);
    }
    close(loop->epoll_fd);
    free(loop->slots);
    free(loop->heap);
    free(loop);
}

/* --- descriptors --- */

static int grow_slots(struct loop *loop)
{
    uint32_t count = loop->slot_count ? loop->slot_count * 2 : 16;
    struct loop_slot *slots = reallocarray(loop->slots, count, sizeof(*slots));

    if (!slots) {
        errno = ENOMEM;
        return -1;
    }
    for (uint32_t i = loop->slot_count; i < count; i++)
        slots[i] = (struct loop_slot){ .next_free = i + 1 < count ? i + 1 : NO_SLOT };
    loop->first_free = loop->slot_count;
    loop->slots = slots;
    loop->slot_count = count;
    return 0;
}

static int control(struct loop *loop, int op, struct loop_io *io)
{
    uint32_t index = io->slot - 1;
    struct epoll_event event = {
        .events = io->events,
        .data.u64 = (uint64_t)loop->slots[index].generation << 32 | index,
    };

    return epoll_ctl(loop->epoll_fd, op, io->fd, &event);
}

int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events,
                void (*callback)(struct loop_io *, uint32_t))
{
    uint32_t index;

    if (loop->first_free == NO_SLOT && grow_slots(loop) < 0)
        return -1;
    index = loop->first_free;
    io->fd = fd;
    io->events = events;
    io->callback = callback;
    io->slot = index + 1; /* 0 is "not active", so that zeroed memory is a removed watcher */
    if (control(loop, EPOLL_CTL_ADD, io) < 0) {
        io->slot = 0;
        return -1;
    }
    loop->first_free = loop->slots[index].next_free;
    loop->slots[index].io = io;
    return 0;
}

int loop_io_modify(struct loop *loop, struct loop_io *io, uint32_t events)
{
    uint32_t before = io->events;

    if (!loop_io_active(io)) {
        errno = ENOENT;
        return -1;
    }
    if (before == events)
        return 0;
    io->events = events;
    if (control(loop, EPOLL_CTL_MOD, io) < 0) {
        io->events = before;
        return -1;
    }
    return 0;
}

void loop_io_remove(struct loop *loop, struct loop_io *io)
{
    struct loop_slot *slot;

    if (io->slot == 0)
        return;
    slot = &loop->slots[io->slot - 1];
    /* The fd may have been closed already, which took it out of the set: ENOENT and EBADF are as good as done. */
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    slot->io = NULL;
    slot->generation++;
    slot->next_free = loop->first_free;
    loop->first_free = io->slot - 1;
    io->slot = 0;
    io->events = 0;
}

bool loop_io_active(const struct loop_io *io)
{
    return io->slot != 0;
}

/* --- timers: a binary heap; those due in the same millisecond run in the order in which they were started --- */

static bool comes_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void heap_place(struct loop *loop, size_t i, struct loop_timer *timer)
{
    loop->heap[i] = timer;
    timer->heap_place = i + 1;
}

static void heap_up(struct loop *loop, size_t i)
{
    struct loop_timer *timer = loop->heap[i];

    while (i > 0 && comes_before(timer, loop->heap[(i - 1) / 2])) {
        heap_place(loop, i, loop->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(loop, i, timer);
}

static void heap_down(struct loop *loop, size_t i)
{
    struct loop_timer *timer = loop->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= loop->heap_count)
            break;
        if (child + 1 < loop->heap_count && comes_before(loop->heap[child + 1], loop->heap[child]))
            child++;
        if (!comes_before(loop->heap[child], timer))
            break;
        heap_place(loop, i, loop->heap[child]);
        i = child;
    }
    heap_place(loop, i, timer);
}

void loop_timer_init(struct loop_timer *timer, void (*callback)(struct loop_timer *))
{
    *timer = (struct loop_timer){ .callback = callback };
}

bool loop_timer_armed(const struct loop_timer *timer)
{
    return timer->heap_place != 0;
}

int loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t after_ms)
{
    if (__builtin_add_overflow(loop->now_ms, after_ms, &timer->due_ms))
        timer->due_ms = UINT64_MAX;
    timer->order = loop->timers_started++;
    if (loop_timer_armed(timer)) {
        heap_up(loop, timer->heap_place - 1);
        heap_down(loop, timer->heap_place - 1);
        return 0;
    }
    if (loop->heap_count == loop->heap_cap) {
        size_t cap = loop->heap_cap ? loop->heap_cap * 2 : 16;
        struct loop_timer **heap = reallocarray(loop->heap, cap, sizeof(struct loop_timer *));
        if (!heap)
            return -1;
        loop->heap = heap;
        loop->heap_cap = cap;
    }
    heap_place(loop, loop->heap_count, timer);
    loop->heap_count++;
    heap_up(loop, timer->heap_place - 1);
    return 0;
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    size_t i = timer->heap_place - 1;
    struct loop_timer *last;

    if (!loop_timer_armed(timer))
        return;
    timer->heap_place = 0;
    last = loop->heap[--loop->heap_count];
    if (last == timer)
        return;
    heap_place(loop, i, last);
    heap_up(loop, i);
    heap_down(loop, last->heap_place - 1);
}

static void run_timers(struct loop *loop)
{
    /* Timers that a callback starts with 0 ms wait for the next turn, so descriptors are never starved. */
    uint64_t now = loop->now_ms;
    uint64_t started_before = loop->timers_started;

    while (loop->heap_count > 0 && loop->heap[0]->due_ms <= now && loop->heap[0]->order < started_before) {
        struct loop_timer *timer = loop->heap[0];
        loop_timer_stop(loop, timer);
        timer->callback(timer);
    }
}

static int wait_ms(const struct loop *loop)
{
    uint64_t now, due;

    if (loop->deferred_head || loop->stopping)
        return 0;
    if (loop->heap_count == 0)
        return -1;
    now = clock_monotonic_ns() / 1000000;
    due = loop->heap[0]->due_ms;
    if (due <= now)
        return 0;
    return due - now > 3600000 ? 3600000 : (int)(due - now);
}

/* --- deferred calls --- */

void loop_defer(struct loop *loop, struct loop_deferred *deferred)
{
    if (deferred->queued)
        return;
    deferred->queued = true;
    deferred->next = NULL;
    *loop->deferred_tail = deferred;
    loop->deferred_tail = &deferred->next;
}

void loop_defer_cancel(struct loop *loop, struct loop_deferred *deferred)
{
    struct loop_deferred **link = &loop->deferred_running;

    if (!deferred->queued)
        return;
    while (*link && *link != deferred)
        link = &(*link)->next;
    if (!*link)
        for (link = &loop->deferred_head; *link != deferred;)
            link = &(*link)->next;
    *link = deferred->next;
    if (loop->deferred_tail == &deferred->next)
        loop->deferred_tail = link;
    deferred->queued = false;
}

static void run_deferred(struct loop *loop)
{
    loop->deferred_running = loop->deferred_head;
    loop->deferred_head = NULL;
    loop->deferred_tail = &loop->deferred_head;
    while (loop->deferred_running) {
        struct loop_deferred *deferred = loop->deferred_running;
        loop->deferred_running = deferred->next;
        deferred->queued = false;
        deferred->callback(deferred); /* may free it */
    }
}

/* --- signals --- */

static void on_signal(struct loop_io *io, uint32_t events)
{
    struct loop *loop = container_of(io, struct loop, signal_io);
    struct signalfd_siginfo info;

    (void)events;
    while (RETRY_EINTR(read(io->fd, &info, sizeof(info))) == (ssize_t)sizeof(info))
        loop->signal_callback(loop, &info, loop->signal_data);
}

int loop_signals(struct loop *loop, const sigset_t *signals,
                 void (*callback)(struct loop *, const struct signalfd_siginfo *, void *), void *data)
{
    _cleanup_close_ int fd = -EBADF;

    if (sigprocmask(SIG_BLOCK, signals, NULL) < 0)
        return -1;
    fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -1;
    loop->signal_callback = callback;
    loop->signal_data = data;
    if (loop_io_add(loop, &loop->signal_io, fd, EPOLLIN, on_signal) < 0) {
        loop->signal_callback = NULL;
        return -1;
    }
    TAKE_FD(fd);
    return 0;
}

/* --- the loop --- */

static void dispatch(struct loop *loop, const struct epoll_event *event)
{
    uint32_t index = (uint32_t)event->data.u64;
    uint32_t generation = (uint32_t)(event->data.u64 >> 32);
    struct loop_slot *slot = &loop->slots[index];

    if (slot->io && slot->generation == generation)
        slot->io->callback(slot->io, event->events);
}

int loop_run(struct loop *loop)
{
    struct epoll_event events[BATCH];

    loop->stopping = false;
    while (!loop->stopping) {
        int n = epoll_wait(loop->epoll_fd, events, BATCH, wait_ms(loop));
        if (n < 0 && errno != EINTR)
            return -1;
        read_clock(loop);
        for (int i = 0; i < n && !loop->stopping; i++)
            dispatch(loop, &events[i]);
        run_timers(loop);
        run_deferred(loop);
    }
    return 0;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

struct last_turn {
    struct loop_deferred deferred;
    struct loop *loop;
};

static void stop_after(struct loop_deferred *deferred)
{
    loop_stop(container_of(deferred, struct last_turn, deferred)->loop);
}

void loop_flush_deferred(struct loop *loop)
{
    struct last_turn last = { .deferred.callback = stop_after, .loop = loop };

    loop_defer(loop, &last.deferred);
    loop_run(loop);
}
