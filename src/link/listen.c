#include "link/listen.h"

#include "link/credentials.h"

#include "base/sys.h"

#define ACCEPTS_PER_TURN 64
#define FULL_PAUSE_MS    100 /* without descriptors, accept() would fail again at once */

struct listener {
    struct core *core;
    const char *certificate, *key;
    struct loop_io io;
    struct loop_timer pause;
    struct quic_listener *quic;
};

static void on_connection(struct loop_io *io, uint32_t events);

static void on_pause_over(struct loop_timer *timer)
{
    struct listener *listener = container_of(timer, struct listener, pause);

    if (!loop_io_active(&listener->io))
        loop_io_add(listener->core->loop, &listener->io, listener->io.fd, EPOLLIN, on_connection);
}

static void on_connection(struct loop_io *io, uint32_t events)
{
    struct listener *listener = container_of(io, struct listener, io);
    struct core *core = listener->core;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct link_address peer = { .len = sizeof(peer.v6) };
        int fd = accept4(io->fd, &peer.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            loop_io_remove(core->loop, io);
            loop_timer_start(core->loop, &listener->pause, FULL_PAUSE_MS);
            return;
        }
        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0)
            continue; /* it went away, or the network has an opinion on it */
        if (core_admit(core, &peer))
            h2_accept(core, fd, &peer, core->credentials);
        else
            close(fd);
    }
}

/*
 * Not even a handshake: who connects now is for our successor, on the same port. Others have the descriptor, too
 * (the keeper has), so it is shut down, with which connections are refused and the port is free to be listened to.
 */
static void on_drain(struct core *core)
{
    struct listener *listener = core->owner;

    loop_io_remove(core->loop, &listener->io);
    loop_timer_stop(core->loop, &listener->pause);
    shutdown(listener->io.fd, SHUT_RDWR);
}

const struct core_role listen_role = {
    .on_drain = on_drain,
    .opens_streams = true,
};

int listener_reload(struct listener *listener, struct berm_error *err)
{
    struct credentials *credentials = credentials_for_listening(listener->certificate, listener->key, err);

    if (!credentials)
        return -1;
    credentials_unref(listener->core->credentials);
    listener->core->credentials = credentials;
    return 0;
}

struct listener *listener_new(struct core *core, int tcp, int udp, const char *certificate, const char *key,
                              struct berm_error *err)
{
    struct listener *listener = calloc(1, sizeof(*listener));

    if (!listener) {
        close_fd(&tcp);
        close_fd(&udp);
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "listen");
        return NULL;
    }
    *listener = (struct listener){ .core = core, .certificate = certificate, .key = key, .io.fd = tcp };
    loop_timer_init(&listener->pause, on_pause_over);
    core->owner = listener;
    if (listener_reload(listener, err) < 0) {
        listener_free(listener);
        return NULL;
    }
    if (set_nonblocking(tcp) < 0 || loop_io_add(core->loop, &listener->io, tcp, EPOLLIN, on_connection) < 0 ||
        (udp >= 0 && !(listener->quic = quic_listen(core, udp)))) {
        berm_fail(err, BERM_E_SYSTEM, errno, "listen");
        listener_free(listener);
        return NULL;
    }
    return listener;
}

void listener_free(struct listener *listener)
{
    if (!listener)
        return;
    loop_io_remove(listener->core->loop, &listener->io);
    loop_timer_stop(listener->core->loop, &listener->pause);
    close_fd(&listener->io.fd);
    if (listener->quic)
        quic_listener_free(listener->quic);
    free(listener);
}
