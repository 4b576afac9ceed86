/*
 * spawn_link.c - see spawn_link.h.
 *
 * A serial is the index of its slot in the low half and a counter in the high half, so that looking it up is one
 * array access and an answer that comes after its request was given up never meets a later one. Slots in use are
 * threaded on a list in the order of sending; as all have the same deadline, only the first one needs a timer.
 */
#include "daemon/spawn_link.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/sys.h"

#define QUEUE_MAX_BYTES  (64u << 20)
#define MESSAGES_AT_ONCE 64

struct pending {
    struct list node; /* in link->pending, by age */
    uint64_t serial;
    uint64_t due_ms;
    uint32_t next_free;
    spawn_done done;
    void *data;
};

#define NO_SLOT UINT32_MAX

struct spawn_link {
    struct loop *loop;
    struct loop_io io;
    struct loop_timer timer;
    struct spawn_link_events events;
    uint32_t timeout_ms;
    bool lost;
    int passed_fds[FDS_MAX]; /* of the message that is being looked at */
    size_t passed_count, passed_next;
    struct buf queue; /* whole requests that the socket had no room for */

    struct pending **slots; /* stable addresses: they are list nodes */
    uint32_t slot_count, first_free, counter;
    struct list pending;
};

/* --- slots --- */

static int add_slot(struct spawn_link *link)
{
    struct pending **slots = reallocarray(link->slots, link->slot_count + 1, sizeof(*slots));
    struct pending *slot;

    if (!slots)
        return -1;
    link->slots = slots;
    slot = calloc(1, sizeof(*slot));
    if (!slot)
        return -1;
    slot->next_free = link->first_free;
    link->first_free = link->slot_count;
    slots[link->slot_count++] = slot;
    return 0;
}

static struct pending *take_slot(struct spawn_link *link, uint64_t *ret_serial)
{
    struct pending *slot;

    if (link->first_free == NO_SLOT && add_slot(link) < 0)
        return NULL;
    *ret_serial = (uint64_t)++link->counter << 32 | link->first_free;
    slot = link->slots[link->first_free];
    link->first_free = slot->next_free;
    slot->serial = *ret_serial;
    list_append(&link->pending, &slot->node);
    return slot;
}

static void release_slot(struct spawn_link *link, struct pending *slot)
{
    uint32_t index = (uint32_t)slot->serial;

    list_remove(&slot->node);
    slot->serial = 0;
    slot->next_free = link->first_free;
    link->first_free = index;
}

static struct pending *find_slot(struct spawn_link *link, uint64_t serial)
{
    uint32_t index = (uint32_t)serial;

    if (serial == 0 || index >= link->slot_count || link->slots[index]->serial != serial)
        return NULL;
    return link->slots[index];
}

static void complete(struct spawn_link *link, struct pending *slot, const struct spawn_reply *reply,
                     const struct berm_error *err)
{
    spawn_done done = slot->done;
    void *data = slot->data;

    release_slot(link, slot);
    if (done)
        done(reply, err, data);
}

/* --- deadlines --- */

static void arm_timer(struct spawn_link *link)
{
    uint64_t now = loop_now_ms(link->loop);
    struct pending *oldest;

    if (list_empty(&link->pending)) {
        loop_timer_stop(link->loop, &link->timer);
        return;
    }
    oldest = container_of(link->pending.next, struct pending, node);
    loop_timer_start(link->loop, &link->timer, oldest->due_ms > now ? oldest->due_ms - now : 0);
}

static void on_timer(struct loop_timer *timer)
{
    struct spawn_link *link = container_of(timer, struct spawn_link, timer);
    struct berm_error err;

    berm_fail(&err, BERM_E_TIMED_OUT, 0, "berm-spawn did not answer in %u ms", link->timeout_ms);
    while (!list_empty(&link->pending)) {
        struct pending *oldest = container_of(link->pending.next, struct pending, node);

        if (oldest->due_ms > loop_now_ms(link->loop))
            break;
        complete(link, oldest, NULL, &err);
    }
    arm_timer(link);
}

static void fail_all(struct spawn_link *link, const char *why)
{
    struct berm_error err;
    struct list failed;

    berm_fail(&err, BERM_E_SPAWNER_UNAVAILABLE, 0, "%s", why);
    list_init(&failed); /* what the callbacks send anew is not among them */
    list_splice(&failed, &link->pending);
    while (!list_empty(&failed))
        complete(link, container_of(failed.next, struct pending, node), NULL, &err);
    arm_timer(link);
}

/* --- receiving --- */

static void lose(struct spawn_link *link)
{
    if (link->lost)
        return;
    link->lost = true;
    loop_io_remove(link->loop, &link->io);
    fail_all(link, "berm-spawn is gone");
    link->events.on_lost(link->events.data);
}

static void take_event(struct spawn_link *link, const struct spawn_reply *reply)
{
    switch (reply->event) {
    case SPAWN_EVENT_EXIT:
        link->events.on_exit(reply->key, &reply->sandbox, link->events.data);
        break;
    case SPAWN_EVENT_SANDBOX:
        link->events.on_sandbox(reply->key, &reply->sandbox, link->events.data);
        break;
    case SPAWN_EVENT_VOLUME:
        link->events.on_volume(reply->key, link->events.data);
        break;
    case SPAWN_EVENT_COMMITTED:
        link->events.on_committed(reply->key, reply, link->events.data);
        break;
    case SPAWN_EVENT_IMAGE:
        link->events.on_image(reply->key, &reply->image, link->events.data);
        break;
    case SPAWN_EVENT_RESTARTED:
        fail_all(link, "berm-spawn restarted");
        link->events.on_restarted(link->events.data);
        break;
    }
}

static void take_reply(struct spawn_link *link, struct spawn_reply *reply)
{
    struct berm_error err = { 0 };
    struct pending *slot;

    reply->message[sizeof(reply->message) - 1] = '\0';
    if (reply->op == SPAWN_OP_EVENT) {
        take_event(link, reply);
        return;
    }
    slot = find_slot(link, reply->serial);
    if (!slot)
        return;
    if (reply->error) { /* its message has the errno's text already */
        berm_fail(&err, BERM_E_SYSTEM, 0, "%s", reply->message[0] ? reply->message : "berm-spawn");
        err.errnum = reply->error;
    }
    complete(link, slot, reply, &err);
}

static void receive(struct spawn_link *link)
{
    struct spawn_reply reply;

    for (int i = 0; i < MESSAGES_AT_ONCE && !link->lost; i++) {
        ssize_t n = recv_fds(link->io.fd, &reply, sizeof(reply), link->passed_fds, FDS_MAX, &link->passed_count);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        link->passed_next = 0;
        if (n < 0)
            link->passed_count = 0;
        if (n == (ssize_t)sizeof(reply) && reply.version == SPAWN_WIRE_VERSION)
            take_reply(link, &reply);
        else
            lose(link);
        while (link->passed_next < link->passed_count)
            close_fd(&link->passed_fds[link->passed_next++]);
    }
}

/* --- sending --- */

static void flush(struct spawn_link *link)
{
    while (link->queue.len >= sizeof(struct spawn_request)) {
        if (send_fds(link->io.fd, buf_head(&link->queue), sizeof(struct spawn_request), NULL, 0) < 0) {
            if (errno == EAGAIN || errno == EINTR)
                break;
            lose(link);
            return;
        }
        buf_consume(&link->queue, sizeof(struct spawn_request));
    }
    loop_io_modify(link->loop, &link->io, EPOLLIN | (link->queue.len ? EPOLLOUT : 0));
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct spawn_link *link = container_of(io, struct spawn_link, io);

    if (events & EPOLLOUT)
        flush(link);
    if (!link->lost && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        receive(link);
}

/* 0 when it went out or was queued. */
static int transmit(struct spawn_link *link, const struct spawn_request *request)
{
    if (link->queue.len == 0) {
        if (send_fds(link->io.fd, request, sizeof(*request), NULL, 0) == 0)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return -1;
    }
    if (buf_append(&link->queue, request, sizeof(*request)) < 0)
        return -1;
    return loop_io_modify(link->loop, &link->io, EPOLLIN | EPOLLOUT);
}

int spawn_link_send(struct spawn_link *link, struct spawn_request *request, spawn_done done, void *data,
                    struct berm_error *err)
{
    struct pending *slot;

    if (link->lost)
        return berm_fail(err, BERM_E_SPAWNER_UNAVAILABLE, 0, "berm-spawn is gone");
    request->version = SPAWN_WIRE_VERSION;
    slot = take_slot(link, &request->serial);
    if (!slot)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "request to berm-spawn");
    if (transmit(link, request) < 0) {
        release_slot(link, slot);
        return berm_fail(err, BERM_E_SPAWNER_UNAVAILABLE, errno, "send to berm-spawn");
    }
    slot->done = done;
    slot->data = data;
    slot->due_ms = loop_now_ms(link->loop) + link->timeout_ms;
    if (!loop_timer_armed(&link->timer))
        arm_timer(link);
    return 0;
}

void spawn_link_forget(struct spawn_link *link, const void *data)
{
    for (uint32_t i = 0; i < link->slot_count; i++)
        if (link->slots[i]->serial && link->slots[i]->data == data)
            link->slots[i]->done = NULL;
}

int spawn_link_take_fd(struct spawn_link *link)
{
    return link->passed_next < link->passed_count ? link->passed_fds[link->passed_next++] : -EBADF;
}

bool spawn_link_alive(const struct spawn_link *link)
{
    return !link->lost;
}

struct spawn_link *spawn_link_new(struct loop *loop, int fd, uint32_t timeout_ms,
                                  const struct spawn_link_events *events, struct berm_error *err)
{
    struct spawn_link *link = calloc(1, sizeof(*link));

    if (!link) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "link to berm-spawn");
        return NULL;
    }
    link->loop = loop;
    link->events = *events;
    link->timeout_ms = timeout_ms;
    link->first_free = NO_SLOT;
    list_init(&link->pending);
    buf_init(&link->queue, QUEUE_MAX_BYTES);
    loop_timer_init(&link->timer, on_timer);
    if (set_nonblocking(fd) < 0 || loop_io_add(loop, &link->io, fd, EPOLLIN, on_io) < 0) {
        berm_fail(err, BERM_E_SYSTEM, errno, "link to berm-spawn");
        free(link);
        return NULL;
    }
    return link;
}

void spawn_link_free(struct spawn_link *link)
{
    if (!link)
        return;
    loop_timer_stop(link->loop, &link->timer);
    loop_io_remove(link->loop, &link->io);
    close(link->io.fd);
    for (uint32_t i = 0; i < link->slot_count; i++)
        free(link->slots[i]);
    free(link->slots);
    buf_free(&link->queue);
    free(link);
}
