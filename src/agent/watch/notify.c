#include "notify.h"

#include <limits.h>
#include <sys/ioctl.h>
#include <time.h>

/* IN_EXCL_UNLINK is left out: what still writes to a file that has been removed is told, as upstream does. */
#define MASK                                                                                                       \
    (IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

#define EVENT_MAX (sizeof(struct inotify_event) + NAME_MAX + 1)

struct notify_mark {
    struct hash_node hash;
    int wd;
    struct notify_ref *refs;
};

/* Not from inside dispatch(), where the last client may leave. */
static void close_unused(struct loop_deferred *deferred)
{
    struct notify *notify = container_of(deferred, struct notify, close_later);

    if (notify->clients)
        return;
    loop_io_remove(notify->loop, &notify->io);
    close_fd(&notify->fd);
    hash_free(&notify->marks);
}

void notify_init(struct notify *notify, struct loop *loop)
{
    *notify = (struct notify){ .loop = loop, .fd = -EBADF, .close_later = { .callback = close_unused } };
}

/* --- marks by number --- */

static struct notify_mark *find_mark(const struct notify *notify, int wd)
{
    uint64_t hash = hash_number((uint64_t)wd);

    for (struct hash_node *node = hash_chain(&notify->marks, hash); node; node = node->next) {
        struct notify_mark *mark = container_of(node, struct notify_mark, hash);
        if (mark->wd == wd)
            return mark;
    }
    return NULL;
}

static struct notify_mark *new_mark(struct notify *notify, int wd)
{
    struct notify_mark *mark = calloc(1, sizeof(*mark));

    if (!mark)
        return NULL;
    mark->wd = wd;
    if (hash_insert(&notify->marks, &mark->hash, hash_number((uint64_t)wd)) < 0) {
        free(mark);
        return NULL;
    }
    return mark;
}

static void free_mark(struct notify *notify, struct notify_mark *mark)
{
    hash_remove(&notify->marks, &mark->hash);
    free(mark);
}

/* --- attaching --- */

int notify_attach(struct notify *notify, struct notify_ref *ref, int fd)
{
    struct notify_mark *mark;
    char path[40];
    int wd;

    /* There is no call that takes a descriptor; this link leads to the very inode, whatever its path is by now. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    wd = inotify_add_watch(notify->fd, path, MASK);
    if (wd < 0)
        return -1;
    mark = find_mark(notify, wd);
    if (!mark)
        mark = new_mark(notify, wd);
    if (!mark) {
        inotify_rm_watch(notify->fd, wd);
        errno = ENOMEM;
        return -1;
    }
    ref->mark = mark;
    ref->next = mark->refs;
    ref->place = &mark->refs;
    if (ref->next)
        ref->next->place = &ref->next;
    mark->refs = ref;
    return 0;
}

void notify_detach(struct notify *notify, struct notify_ref *ref)
{
    struct notify_mark *mark = ref->mark;

    if (!mark)
        return;
    if (notify->cursor == ref)
        notify->cursor = ref->next;
    *ref->place = ref->next;
    if (ref->next)
        ref->next->place = ref->place;
    ref->mark = NULL;
    if (mark->refs || mark == notify->dispatching)
        return;
    /* Numbers are not used again for a long time, so late events of this one find nothing. */
    inotify_rm_watch(notify->fd, mark->wd);
    free_mark(notify, mark);
}

/* --- events --- */

static void dispatch(struct notify *notify, int wd, const struct notify_event *event)
{
    struct notify_mark *mark = find_mark(notify, wd);

    if (!mark)
        return;
    notify->dispatching = mark;
    notify->cursor = mark->refs;
    while (notify->cursor) {
        struct notify_ref *ref = notify->cursor;
        notify->cursor = ref->next;
        ref->on_event(ref, event);
    }
    while (mark->refs && (event->mask & IN_IGNORED))
        notify_detach(notify, mark->refs);
    notify->dispatching = NULL;
    if (!mark->refs) {
        inotify_rm_watch(notify->fd, mark->wd);
        free_mark(notify, mark);
    }
}

static void tell_clients(struct notify *notify, bool overflow)
{
    notify->client_cursor = notify->clients;
    while (notify->client_cursor) {
        struct notify_client *client = notify->client_cursor;
        notify->client_cursor = client->next;
        if (overflow)
            client->on_overflow(client);
        else
            client->on_progress(client);
    }
}

static void dispatch_all(struct notify *notify, const char *p, size_t n)
{
    while (n >= sizeof(struct inotify_event)) {
        struct inotify_event head;
        struct notify_event event;
        size_t length;
        memcpy(&head, p, sizeof(head));
        length = sizeof(head) + head.len;
        event = (struct notify_event){ head.mask, head.cookie, { p + sizeof(head), 0 } };
        event.name.n = strnlen(event.name.p, head.len);
        notify->position += length;
        notify->unread = n - length;
        if (head.mask & IN_Q_OVERFLOW)
            tell_clients(notify, true);
        else
            dispatch(notify, head.wd, &event);
        p += length;
        n -= length;
    }
}

bool notify_is_quiet(const struct notify *notify)
{
    int waiting = 0;

    return notify->unread == 0 && ioctl(notify->fd, FIONREAD, &waiting) == 0 && waiting == 0;
}

/* The clock comes first: what happens behind it is told later. */
static void note_quiet(struct notify *notify)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now); /* which files get their times from */
    if (notify_is_quiet(notify))
        notify->quiet_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t notify_quiet_ns(const struct notify *notify)
{
    return notify->quiet_ns;
}

/* One buffer per turn, so that a storm of events leaves room for everything else. */
static void on_readable(struct loop_io *io, uint32_t events)
{
    struct notify *notify = container_of(io, struct notify, io);
    _Alignas(struct inotify_event) char buffer[8192];
    ssize_t n = read(notify->fd, buffer, sizeof(buffer));

    (void)events;
    _Static_assert(sizeof(buffer) >= EVENT_MAX, "an event fits");
    if (n <= 0)
        return;
    dispatch_all(notify, buffer, (size_t)n);
    note_quiet(notify);
    tell_clients(notify, false);
}

uint64_t notify_position(const struct notify *notify)
{
    return notify->position;
}

uint64_t notify_end(const struct notify *notify)
{
    int waiting = 0;

    if (ioctl(notify->fd, FIONREAD, &waiting) < 0)
        return notify->position;
    return notify->position + (uint64_t)waiting;
}

void notify_hold(struct notify *notify)
{
    if (notify->holds++ == 0)
        (void)loop_io_modify(notify->loop, &notify->io, 0);
}

void notify_release(struct notify *notify)
{
    if (--notify->holds == 0)
        (void)loop_io_modify(notify->loop, &notify->io, EPOLLIN);
}

/* --- clients --- */

int notify_join(struct notify *notify, struct notify_client *client)
{
    if (notify->fd < 0) {
        int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (fd < 0)
            return -1;
        if (loop_io_add(notify->loop, &notify->io, fd, notify->holds ? 0 : EPOLLIN, on_readable) < 0) {
            close_fd(&fd);
            return -1;
        }
        notify->fd = fd;
        note_quiet(notify);
    }
    client->next = notify->clients;
    notify->clients = client;
    return 0;
}

void notify_leave(struct notify *notify, struct notify_client *client)
{
    struct notify_client **at = &notify->clients;

    while (*at && *at != client)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = client->next;
    if (notify->client_cursor == client)
        notify->client_cursor = client->next;
    if (!notify->clients)
        loop_defer(notify->loop, &notify->close_later);
}
