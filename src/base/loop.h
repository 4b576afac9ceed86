/*
 * loop.h - one event loop for daemon, spawner and agent, on epoll.
 *
 * Theory of operation: a process has one loop and one thread that runs it, and that thread owns all state the
 * callbacks touch. Watchers are embedded in the caller's structs (container_of gets back), so the loop allocates
 * nothing per event. A callback may add, change or remove any watcher, also its own and ones whose event is
 * already in the batch that epoll returned: removal is noticed by a generation check before each call.
 * Objects are freed through loop_defer(), which runs after the batch, never inside their own callback.
 * Exits of child processes arrive as readable pidfds; signals through one signalfd.
 */
#pragma once

#include "base.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

struct loop;

struct loop_io {
    int fd;
    uint32_t events; /* EPOLLIN | EPOLLOUT | ... as registered */
    uint32_t slot;   /* private to the loop */
    void (*callback)(struct loop_io *io, uint32_t events);
};

struct loop_timer {
    uint64_t due_ms;
    uint64_t order;    /* private */
    size_t heap_place; /* private: place in the heap, from 1; 0 while not armed, as in zeroed memory */
    void (*callback)(struct loop_timer *timer);
};

struct loop_deferred {
    struct loop_deferred *next;
    bool queued;
    void (*callback)(struct loop_deferred *deferred);
};

struct loop *loop_new(void); /* NULL with errno */
void loop_free(struct loop *loop);

/* Runs until loop_stop(). Returns 0, or -1 with errno when epoll itself fails. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Runs what is still deferred, for whoever has stopped and frees things. */
void loop_flush_deferred(struct loop *loop);

/* Monotonic milliseconds, read once per turn. */
uint64_t loop_now_ms(const struct loop *loop);
uint64_t clock_monotonic_ns(void);
int64_t clock_realtime_ns(void); /* since 1970 */
int64_t clock_realtime_ms(void);

/*
 * `io` must be zero-initialised or removed. The loop never closes fds; remove a watcher before its fd is closed,
 * for the number may belong to another by then. Both return 0 or -1 with errno (ENOENT: modified while not active).
 */
int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events,
                void (*callback)(struct loop_io *, uint32_t));
int loop_io_modify(struct loop *loop, struct loop_io *io, uint32_t events); /* no syscall if unchanged */
void loop_io_remove(struct loop *loop, struct loop_io *io);                 /* idempotent */
bool loop_io_active(const struct loop_io *io);

/* Timers never fire early by the clock of loop_now_ms(); those due together fire in the order of their start. */
void loop_timer_init(struct loop_timer *timer, void (*callback)(struct loop_timer *));
int loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t after_ms); /* re-arms if armed */
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);                    /* idempotent */
bool loop_timer_armed(const struct loop_timer *timer);

/* Runs once, after the current batch of events. Queuing twice before it ran is one run. */
void loop_defer(struct loop *loop, struct loop_deferred *deferred);
void loop_defer_cancel(struct loop *loop, struct loop_deferred *deferred); /* idempotent; before its memory goes */

/* Blocks the signals in the thread and delivers them here. One call per process. */
int loop_signals(struct loop *loop, const sigset_t *signals,
                 void (*callback)(struct loop *, const struct signalfd_siginfo *, void *), void *data);
