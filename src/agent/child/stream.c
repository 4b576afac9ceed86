#include "stream.h"

#include <fcntl.h>

#define TURN_BUDGET ((size_t)1024 * 1024) /* per event, so that one loud command does not hold up the others */
#define PIPE_SIZE   (1024 * 1024)

char scratch[SCRATCH_SIZE];

static ssize_t read_once(struct stream *stream, bool final, size_t *ret_room)
{
    char *room = scratch;
    ssize_t n;

    *ret_room = sizeof(scratch);
    if (stream->sink) {
        room = stream->sink->reserve(stream->sink, stream->index, ret_room, final);
        if (!room)
            return -2;
    }
    n = RETRY_EINTR(read(stream->fd, room, *ret_room));
    if (n > 0 && stream->sink)
        stream->sink->commit(stream->sink, stream->index, (size_t)n);
    return n;
}

/* A command that fills its pipe gets a larger one. Where the kernel allows none, the default stays. */
static void maybe_enlarge(struct stream *stream, size_t n)
{
    if (n >= 32768 && !stream->enlarged) {
        stream->enlarged = true;
        (void)fcntl(stream->fd, F_SETPIPE_SZ, PIPE_SIZE);
    }
}

enum stream_state stream_pump(struct stream *stream, size_t budget, bool final)
{
    size_t total = 0;

    for (;;) {
        size_t room;
        ssize_t n = read_once(stream, final, &room);
        if (n == -2)
            return STREAM_BLOCKED;
        if (n == 0)
            return STREAM_ENDED;
        if (n < 0)
            return errno == EAGAIN ? STREAM_EMPTY : STREAM_ENDED;
        maybe_enlarge(stream, (size_t)n);
        total += (size_t)n;
        if (total >= budget)
            return STREAM_MORE;
    }
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);

    (void)events;
    switch (stream_pump(stream, TURN_BUDGET, false)) {
    case STREAM_MORE:
        stream_rearm(stream);
        break;
    case STREAM_ENDED:
        stream->on_end_of_file(stream);
        break;
    case STREAM_EMPTY:
    case STREAM_BLOCKED:
        break;
    }
}

void stream_rearm(struct stream *stream)
{
    /* EPOLLPRI never happens on a pipe: toggling it changes the registration and nothing else. */
    if (loop_io_active(&stream->io))
        (void)loop_io_modify(stream->loop, &stream->io, stream->io.events ^ EPOLLPRI);
}

void stream_open(struct stream *stream, struct loop *loop, int fd, int index, struct sink *sink,
                 void (*on_end_of_file)(struct stream *))
{
    *stream =
        (struct stream){ .loop = loop, .fd = fd, .index = index, .sink = sink, .on_end_of_file = on_end_of_file };
}

int stream_watch(struct stream *stream)
{
    if (stream->fd < 0 || loop_io_active(&stream->io))
        return 0;
    return loop_io_add(stream->loop, &stream->io, stream->fd, EPOLLIN | EPOLLET, on_io);
}

void stream_unwatch(struct stream *stream)
{
    loop_io_remove(stream->loop, &stream->io);
}

void stream_close(struct stream *stream)
{
    if (stream->fd < 0)
        return;
    stream_unwatch(stream);
    close_fd(&stream->fd);
}
