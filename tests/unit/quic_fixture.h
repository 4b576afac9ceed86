/*
 * quic_fixture.h - both ends of QUIC links in one process, over UDP on the loopback, with the test in bermd's place
 * behind each: a dialler, a listener, and between them a relay, which is the network: it loses, is silent, and
 * gives the dialler another address.
 */
#pragma once

#include "link_certificates.h"
#include "net_peer.h"

#include "base/sys.h"
#include "link/core.h"
#include "link/quic.h"

#include <signal.h>

#define STREAMS_SEEN 4096

struct end {
    struct core core;
    struct link_table table;
    int wire; /* bermd's end */
    struct loop_io io;
    struct link *link; /* the last that came up */
    struct link_message up;
    unsigned ups, downs, drainings;
    enum link_reason reason; /* of the last that went down */
    unsigned reasons;        /* of all, as bits */
    char text[LINK_TEXT];
    int streams[STREAMS_SEEN]; /* dialler: those that were begun */
    unsigned stream_count;
};

static struct end dialler, listener;
static struct quic_listener *quic_listener;
static struct link_address listener_address;
static char directory[64];
static struct authority authority;

/* --- files --- */

static inline const char *file_named(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static inline void make_files(void)
{
    strncpy(directory, "/tmp/berm-quic-XXXXXX", sizeof(directory) - 1);
    assert_non_null(mkdtemp(directory));
    authority_new(&authority, file_named("authority.crt"));
    authority_issue(&authority, "edge.test", 3600, file_named("edge"));
}

static inline void remove_files(void)
{
    unlink(file_named("authority.crt"));
    unlink(file_named("edge.crt"));
    unlink(file_named("edge.key"));
    rmdir(directory);
    authority_free(&authority);
}

/* --- the test as bermd --- */

static inline void on_end_wire(struct loop_io *io, uint32_t events)
{
    struct end *end = container_of(io, struct end, io);
    struct link_message message;
    size_t fds = 0;
    int fd = -1;

    (void)events;
    while (recv_fds(end->wire, &message, sizeof(message), &fd, 1, &fds) == (ssize_t)sizeof(message)) {
        if (message.type == LINK_UP) {
            end->ups++;
            end->up = message;
        } else if (message.type == LINK_STREAM) {
            assert_int_equal(fds, 1);
            assert_true(end->stream_count < STREAMS_SEEN);
            set_nonblocking(fd);
            end->streams[end->stream_count++] = fd;
        } else if (message.type == LINK_DRAINING) {
            end->drainings++;
        }
    }
}

static inline void on_end_up(struct core *core, struct link *link, enum link_transport transport)
{
    assert_int_equal(transport, LINK_QUIC);
    container_of(core, struct end, core)->link = link;
}

static inline uint32_t on_end_down(struct core *core, struct link *link, enum link_reason reason, const char *text)
{
    struct end *end = container_of(core, struct end, core);

    end->downs++;
    end->reason = reason;
    end->reasons |= 1u << reason;
    snprintf(end->text, sizeof(end->text), "%s", text);
    if (end->link == link)
        end->link = NULL;
    return 0;
}

static const struct core_role dialler_role = { .on_up = on_end_up, .on_down = on_end_down };
static const struct core_role listener_role = { .on_up = on_end_up, .on_down = on_end_down, .opens_streams = true };

static inline void end_start(struct end *end, const struct core_role *role, struct credentials *credentials)
{
    int wires[2];

    *end = (struct end){ 0 };
    assert_non_null(credentials);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, wires), 0);
    assert_int_equal(core_init(&end->core, loop, wires[0], &end->table, role), 0);
    end->core.credentials = credentials;
    end->wire = wires[1];
    assert_int_equal(loop_io_add(loop, &end->io, end->wire, EPOLLIN, on_end_wire), 0);
}

static inline void end_stop(struct end *end)
{
    turn(); /* links that are down are freed from the loop */
    for (unsigned i = 0; i < end->stream_count; i++)
        close_fd(&end->streams[i]);
    core_fini(&end->core);
    credentials_unref(end->core.credentials);
    loop_io_remove(loop, &end->io);
    close(end->wire);
}

static inline void tell(struct end *end, enum link_message_type type, uint32_t link, int fd)
{
    struct link_message message = { .version = LINK_WIRE_VERSION, .type = (uint16_t)type, .link = link };

    assert_int_equal(send_fds(end->wire, &message, sizeof(message), &fd, fd >= 0), 0);
}

/* Begins a stream at the listener: bermd's end of it there. */
static inline int open_stream(void)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    tell(&listener, LINK_OPEN, listener.up.link, ends[1]);
    close(ends[1]);
    return ends[0];
}

/* Begins one, has its first bytes cross, and gives bermd's end on either side. */
static inline int open_pair(int *far)
{
    unsigned before = dialler.stream_count;
    int near = open_stream();
    char byte = 0;

    assert_int_equal(write(near, "!", 1), 1);
    WAIT_FOR(dialler.stream_count > before);
    *far = dialler.streams[before];
    dialler.streams[before] = -1; /* the test's */
    WAIT_FOR(read(*far, &byte, 1) == 1);
    assert_int_equal(byte, '!');
    return near;
}

/* --- the two ends --- */

static inline struct credentials *listener_credentials(void)
{
    struct berm_error err = { 0 };
    struct credentials *credentials =
        credentials_for_listening(file_named("edge.crt"), file_named("edge.key"), &err);

    assert_string_equal(err.message, "");
    return credentials;
}

static inline int udp_bind(struct link_address *address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, &address->any, address->len), 0);
    assert_int_equal(getsockname(fd, &address->any, &address->len), 0);
    return fd;
}

static inline struct link_address loopback(void)
{
    return (struct link_address){ .v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
                                  .len = sizeof(struct sockaddr_in) };
}

/* At the address that it had before, if it had one. */
static inline void start_listener(void)
{
    end_start(&listener, &listener_role, listener_credentials());
    quic_listener = quic_listen(&listener.core, udp_bind(&listener_address));
    assert_non_null(quic_listener);
}

static inline void stop_listener(void)
{
    end_stop(&listener);
    quic_listener_free(quic_listener);
}

static inline struct link *dial_as(const struct link_address *address, const char *host)
{
    struct link_target target = { .address = *address, .host = host, .credentials = dialler.core.credentials };

    return quic_dial(&dialler.core, &target);
}

static inline void connect_ends(const struct link_address *address)
{
    unsigned there = listener.ups, here = dialler.ups;

    assert_non_null(dial_as(address, "edge.test"));
    WAIT_FOR(dialler.ups > here && listener.ups > there);
}

static inline int setup(void **state)
{
    struct berm_error err = { 0 };

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    make_files();
    listener_address = loopback();
    start_listener();
    end_start(&dialler, &dialler_role, credentials_for_dialling(file_named("authority.crt"), &err));
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    end_stop(&dialler);
    stop_listener();
    loop_free(loop);
    remove_files();
    return 0;
}

/* --- the network --- */

static struct relay {
    int front, back; /* towards the dialler, towards the listener */
    struct loop_io front_io, back_io;
    struct link_address address, dialler;
    unsigned lose; /* one of so many, 0: none */
    bool silent;
    unsigned seed;
    uint8_t first[1500]; /* packet from the dialler */
    ssize_t first_size;
    unsigned retries; /* that went to the dialler */
} relay;

static inline bool is_lost(void)
{
    relay.seed = relay.seed * 1103515245u + 12345u;
    return relay.silent || (relay.lose > 0 && (relay.seed >> 16) % relay.lose == 0);
}

static inline void on_front(struct loop_io *io, uint32_t events)
{
    uint8_t p[2048];
    ssize_t n;

    (void)events;
    relay.dialler.len = sizeof(relay.dialler.v6);
    while ((n = recvfrom(io->fd, p, sizeof(p), 0, &relay.dialler.any, &relay.dialler.len)) > 0) {
        if (relay.first_size == 0) {
            relay.first_size = MIN(n, (ssize_t)sizeof(relay.first));
            memcpy(relay.first, p, (size_t)relay.first_size);
        }
        if (!is_lost())
            send(relay.back, p, (size_t)n, 0);
    }
}

static inline void on_back(struct loop_io *io, uint32_t events)
{
    uint8_t p[2048];
    ssize_t n;

    (void)events;
    while ((n = recv(io->fd, p, sizeof(p), 0)) > 0) {
        relay.retries += (p[0] & 0xf0) == 0xf0;
        if (!is_lost())
            sendto(relay.front, p, (size_t)n, 0, &relay.dialler.any, relay.dialler.len);
    }
}

/* The listener sees another address from now on, as when a NAT forgets. */
static inline void relay_rebind(void)
{
    if (loop_io_active(&relay.back_io)) {
        loop_io_remove(loop, &relay.back_io);
        close(relay.back);
    }
    relay.back = udp_connect(&listener_address);
    assert_true(relay.back >= 0);
    assert_int_equal(loop_io_add(loop, &relay.back_io, relay.back, EPOLLIN, on_back), 0);
}

static inline void relay_start(void)
{
    relay = (struct relay){ .address = loopback(), .seed = 1 };
    relay.front = udp_bind(&relay.address);
    assert_int_equal(loop_io_add(loop, &relay.front_io, relay.front, EPOLLIN, on_front), 0);
    relay_rebind();
}

static inline void relay_stop(void)
{
    loop_io_remove(loop, &relay.front_io);
    loop_io_remove(loop, &relay.back_io);
    close(relay.front);
    close(relay.back);
}
