#include "daemon/docker/hijack.h"

#include "base/sys.h"
#include "daemon/daemon.h"

#include <sys/socket.h>

#define OUTPUT_HIGH   ((size_t)256 * 1024)
#define INPUT_AT_ONCE 65536

struct hijack {
    struct loop *loop;
    struct loop_io io;
    struct buf out;
    const struct hijack_events *events;
    void *data;
    bool reads, input_over, full, ending;
};

void hijack_abort(struct hijack *hijack)
{
    int fd;

    if (!hijack)
        return;
    fd = hijack->io.fd;
    loop_io_remove(hijack->loop, &hijack->io);
    close_fd(&fd);
    buf_free(&hijack->out);
    free(hijack);
}

static void close_hijack(struct hijack *hijack)
{
    hijack->events->on_close(hijack->data);
    hijack_abort(hijack);
}

/* Always watched: a client that is gone shows by EPOLLHUP although nothing is read or written. */
static void update(struct hijack *hijack)
{
    bool reads = !hijack->ending && hijack->reads && !hijack->input_over;

    loop_io_modify(hijack->loop, &hijack->io, (hijack->out.len > 0 ? EPOLLOUT : 0) | (reads ? EPOLLIN : 0));
}

/* False: the connection is broken. */
static bool flush(struct hijack *hijack)
{
    while (hijack->out.len > 0) {
        ssize_t n =
            RETRY_EINTR(send(hijack->io.fd, buf_head(&hijack->out), hijack->out.len, MSG_NOSIGNAL | MSG_DONTWAIT));

        if (n < 0)
            return errno == EAGAIN;
        buf_consume(&hijack->out, (size_t)n);
    }
    buf_release_if_empty(&hijack->out);
    return true;
}

static void read_input(struct hijack *hijack)
{
    char bytes[INPUT_AT_ONCE];
    ssize_t n = recv(hijack->io.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        hijack->events->on_input(hijack->data, (struct str){ bytes, (size_t)n });
        return;
    }
    hijack->input_over = true;
    hijack->events->on_input_end(hijack->data);
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct hijack *hijack = container_of(io, struct hijack, io);

    if (!flush(hijack) || (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN))) {
        close_hijack(hijack);
        return;
    }
    if (hijack->ending) {
        hijack_end(hijack);
        return;
    }
    if (events & EPOLLIN && hijack->reads)
        read_input(hijack);
    if (hijack->full && hijack->out.len < OUTPUT_HIGH / 4) {
        hijack->full = false;
        hijack->events->on_drain(hijack->data);
    }
    update(hijack);
}

struct hijack *hijack_start(struct request *request, const char *content_type, const struct hijack_events *events,
                            void *data)
{
    const struct http_field fields[] = { { "Content-Type", content_type }, { "Upgrade", "tcp" } };
    struct hijack *hijack = calloc(1, sizeof(*hijack));
    struct loop *loop = request->daemon->loop;
    struct buf rest;
    int fd;

    buf_init(&rest, OUTPUT_HIGH);
    request->status = 101;
    fd = http_upgrade(request->exchange, fields, ARRAY_SIZE(fields), &rest);
    if (hijack && fd >= 0) {
        *hijack = (struct hijack){ .loop = loop, .events = events, .data = data };
        buf_init(&hijack->out, SIZE_MAX / 4); /* bounded by who writes */
        if (loop_io_add(loop, &hijack->io, fd, 0, on_io) == 0) {
            if (rest.len > 0)
                events->on_input(data, buf_str(&rest));
            buf_free(&rest);
            return hijack;
        }
    }
    buf_free(&rest);
    close_fd(&fd);
    free(hijack);
    return NULL;
}

bool hijack_write(struct hijack *hijack, struct str bytes)
{
    if (buf_append_str(&hijack->out, bytes) < 0)
        shutdown(hijack->io.fd, SHUT_RDWR); /* a hole in the stream must not look like none */
    update(hijack);
    hijack->full = hijack->full || hijack->out.len >= OUTPUT_HIGH;
    return !hijack->full;
}

size_t hijack_queued(const struct hijack *hijack)
{
    return hijack->out.len;
}

void hijack_read(struct hijack *hijack, bool on)
{
    hijack->reads = on;
    update(hijack);
}

void hijack_end(struct hijack *hijack)
{
    hijack->ending = true;
    if (!flush(hijack) || hijack->out.len == 0)
        close_hijack(hijack);
    else
        update(hijack);
}
