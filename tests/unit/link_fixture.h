/*
 * link_fixture.h - both ends of a link in one process: a listening and a dialling core on one loop, each with the
 * test at the other end of its wire.
 */
#pragma once

#include "link_certificates.h"

#include "base/link_wire.h"
#include "link/credentials.h"
#include "link/dial.h"
#include "link/listen.h"

#include <fcntl.h>
#include <sys/stat.h>

#define HEARD_MAX 8192
#define WAIT_MS   60000 /* far more than anything takes, also under sanitizers on a busy machine */

/* bermd's place at a wire. */
struct heard {
    struct link_message message;
    int fd;
};

struct bermd {
    int wire;
    size_t count;
    struct heard heard[HEARD_MAX];
};

struct ends {
    struct loop *loop;
    char dir[64];
    char ca_path[96], certificate[96], key[96];
    struct authority ca;
    struct link_table edge_table, home_table;
    struct core edge, home;
    struct listener *listener;
    struct dialler *dialler;
    struct bermd at_edge, at_home;
    uint16_t port;
};

static void bermd_read(struct bermd *b)
{
    while (b->count < HEARD_MAX) {
        struct heard *heard = &b->heard[b->count];
        size_t fds = 0;
        ssize_t n;

        heard->fd = -EBADF;
        n = recv_fds(b->wire, &heard->message, sizeof(heard->message), &heard->fd, 1, &fds);
        if (n <= 0)
            return;
        assert_int_equal(n, sizeof(heard->message));
        assert_int_equal(heard->message.version, LINK_WIRE_VERSION);
        assert_int_equal(fds, heard->message.type == LINK_STREAM);
        b->count++;
    }
}

/* The first message of this type that was not asked for before; it is forgotten. */
static bool bermd_take(struct bermd *b, uint16_t type, struct heard *ret)
{
    bermd_read(b);
    for (size_t i = 0; i < b->count; i++) {
        if (b->heard[i].message.type != type)
            continue;
        *ret = b->heard[i];
        memmove(&b->heard[i], &b->heard[i + 1], (b->count - i - 1) * sizeof(b->heard[0]));
        b->count--;
        return true;
    }
    return false;
}

/* --- the loop runs until something is so --- */

struct until {
    struct loop_timer timer;
    struct loop *loop;
    bool (*so)(void *data);
    void *data;
    uint64_t give_up_ms;
    bool came;
};

static void look(struct loop_timer *timer)
{
    struct until *u = container_of(timer, struct until, timer);

    u->came = u->so(u->data);
    if (u->came || loop_now_ms(u->loop) > u->give_up_ms)
        loop_stop(u->loop);
    else
        loop_timer_start(u->loop, timer, 1);
}

static bool run_until(struct loop *loop, bool (*so)(void *data), void *data, uint64_t most_ms)
{
    struct until u = {
        .loop = loop, .so = so, .data = data, .give_up_ms = clock_monotonic_ns() / 1000000 + most_ms
    };

    u.timer.callback = look;
    loop_timer_start(loop, &u.timer, 0);
    assert_int_equal(loop_run(loop), 0);
    loop_timer_stop(loop, &u.timer);
    return u.came;
}

struct waiting {
    struct bermd *bermd;
    uint16_t type;
    struct heard *ret;
};

static bool has_come(void *data)
{
    struct waiting *w = data;

    return bermd_take(w->bermd, w->type, w->ret);
}

static struct heard expect(struct ends *e, struct bermd *b, uint16_t type)
{
    struct heard heard;
    struct waiting w = { b, type, &heard };

    assert_true(run_until(e->loop, has_come, &w, WAIT_MS));
    return heard;
}

static void tell(struct bermd *b, uint16_t type, uint32_t link, int fd)
{
    const struct link_message message = { .version = LINK_WIRE_VERSION, .type = type, .link = link };

    assert_int_equal(send_fds(b->wire, &message, sizeof(message), &fd, fd >= 0), 0);
}

/* --- making them --- */

static int wire_to(struct bermd *b)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    *b = (struct bermd){ .wire = ends[0] };
    return ends[1];
}

static int listening_socket(uint16_t *ret_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 1024), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void ends_init(struct ends *e)
{
    struct berm_error err;

    memset(e, 0, sizeof(*e));
    e->loop = loop_new();
    snprintf(e->dir, sizeof(e->dir), "/tmp/berm-link-test.XXXXXX");
    assert_non_null(mkdtemp(e->dir));
    snprintf(e->ca_path, sizeof(e->ca_path), "%s/ca.crt", e->dir);
    snprintf(e->certificate, sizeof(e->certificate), "%s/edge.crt", e->dir);
    snprintf(e->key, sizeof(e->key), "%s/edge.key", e->dir);
    authority_new(&e->ca, e->ca_path);
    snprintf(e->key, sizeof(e->key), "%s/edge", e->dir);
    authority_issue(&e->ca, "localhost", 3600, e->key);
    snprintf(e->key, sizeof(e->key), "%s/edge.key", e->dir);
    assert_int_equal(core_init(&e->edge, e->loop, wire_to(&e->at_edge), &e->edge_table, &listen_role), 0);
    e->listener = listener_new(&e->edge, listening_socket(&e->port), -1, e->certificate, e->key, &err);
    assert_non_null(e->listener);
}

static void ends_dial(struct ends *e, const char *host, enum dial_transport transport)
{
    struct berm_error err;

    assert_int_equal(core_init(&e->home, e->loop, wire_to(&e->at_home), &e->home_table, &dial_role), 0);
    e->home.credentials = credentials_for_dialling(e->ca_path, &err);
    assert_non_null(e->home.credentials);
    e->dialler = dialler_new(&e->home, host, e->port, transport);
    assert_non_null(e->dialler);
}

static void bermd_end(struct bermd *b)
{
    for (size_t i = 0; i < b->count; i++)
        close_fd(&b->heard[i].fd);
    if (b->wire > 0)
        close_fd(&b->wire);
}

static void ends_fini(struct ends *e)
{
    char path[128];

    if (e->dialler) {
        dialler_free(e->dialler);
        core_fini(&e->home);
        credentials_unref(e->home.credentials);
    }
    core_fini(&e->edge);
    listener_free(e->listener);
    credentials_unref(e->edge.credentials);
    bermd_end(&e->at_edge);
    bermd_end(&e->at_home);
    loop_free(e->loop);
    authority_free(&e->ca);
    static const char *const files[] = { "ca.crt", "edge.crt", "edge.key" };
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", e->dir, files[i]);
        unlink(path);
    }
    rmdir(e->dir);
}
