#include "channel.h"

#include "agent/child/sink.h"
#include "base/sys.h"

#define READ_SIZE SCRATCH_SIZE

static void fail(struct channel *channel)
{
    channel_close(channel);
    channel->on_close(channel);
}

static void on_io(struct loop_io *io, uint32_t events);

/*
 * What is paused is not watched at all: epoll would tell of the other end's death over and over, and the frames
 * that it sent before have to wait.
 */
static void update(struct channel *channel)
{
    uint32_t events = EPOLLIN | (channel->out.len > 0 ? EPOLLOUT : 0);

    if (channel->fd < 0)
        return;
    if (channel->paused)
        loop_io_remove(channel->loop, &channel->io);
    else if (loop_io_active(&channel->io))
        (void)loop_io_modify(channel->loop, &channel->io, events);
    else if (loop_io_add(channel->loop, &channel->io, channel->fd, events, on_io) < 0)
        fail(channel);
}

static int flush(struct channel *channel)
{
    while (channel->out.len > 0) {
        ssize_t n = RETRY_EINTR(send(channel->fd, buf_head(&channel->out), channel->out.len, MSG_NOSIGNAL));
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        buf_consume(&channel->out, (size_t)n);
    }
    buf_release_if_empty(&channel->out);
    return 0;
}

/* Callbacks may pause or close us; neither may be overlooked, nor may a callback start this a second time. */
static void deliver(struct channel *channel)
{
    struct frame frame;
    enum frame_state state = FRAME_INCOMPLETE;

    if (channel->delivering || channel->fd < 0)
        return;
    channel->delivering = true;
    while (channel->fd >= 0 && !channel->paused && (state = frame_peek(&channel->in, &frame)) == FRAME_COMPLETE) {
        channel->on_frame(channel, &frame);
        if (channel->fd >= 0)
            buf_consume(&channel->in, frame.size);
    }
    channel->delivering = false;
    if (channel->fd < 0)
        buf_free(&channel->in);
    else if (!(channel->broken = state == FRAME_BAD))
        buf_release_if_empty(&channel->in);
    else
        fail(channel);
}

/* 1: there may be more; 0: nothing now, or the channel is closed. */
static int read_some(struct channel *channel)
{
    ssize_t n = RETRY_EINTR(read(channel->fd, scratch, READ_SIZE));

    if (n > 0 && buf_append(&channel->in, scratch, (size_t)n) == 0) {
        channel->reads++;
        deliver(channel);
        return channel->fd >= 0 && !channel->paused;
    }
    if (n >= 0 || errno != EAGAIN)
        fail(channel);
    return 0;
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct channel *channel = container_of(io, struct channel, io);

    if ((events & EPOLLOUT) && flush(channel) < 0) {
        fail(channel);
        return;
    }
    if (events & ~(uint32_t)EPOLLOUT)
        (void)read_some(channel);
    update(channel);
}

void channel_drain(struct channel *channel)
{
    while (channel->fd >= 0 && !channel->paused && read_some(channel))
        ;
}

int channel_open(struct channel *channel, struct loop *loop, int fd)
{
    channel->loop = loop;
    channel->fd = fd;
    buf_init(&channel->in, FRAME_MAX + 4 + READ_SIZE);
    buf_init(&channel->out, FRAME_MAX * 4);
    if (loop_io_add(loop, &channel->io, fd, EPOLLIN, on_io) == 0)
        return 0;
    close_fd(&channel->fd);
    return -1;
}

void channel_close(struct channel *channel)
{
    if (channel->fd < 0)
        return;
    loop_io_remove(channel->loop, &channel->io);
    close_fd(&channel->fd);
    buf_free(&channel->out);
    if (!channel->delivering) /* the frame that is being delivered is in there */
        buf_free(&channel->in);
}

int channel_send(struct channel *channel, char kind, struct str payload)
{
    if (channel->fd < 0)
        return 0;
    if (frame_append(&channel->out, kind, payload) < 0)
        return -1;
    (void)flush(channel); /* what is wrong with the connection the loop will tell */
    update(channel);
    return 0;
}

void channel_pause(struct channel *channel)
{
    channel->paused = true;
    update(channel);
}

void channel_resume(struct channel *channel)
{
    if (!channel->paused)
        return;
    channel->paused = false;
    update(channel);
    deliver(channel);
}
