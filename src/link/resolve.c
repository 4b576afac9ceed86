#include "link/resolve.h"

#include "net/ares_loop.h"

#include <arpa/inet.h>
#include <netdb.h>

#define TRY_MS 1000
#define TRIES  2

struct resolve {
    struct loop *loop;
    struct ares_loop ares;
    resolve_done done; /* NULL: cancelled */
    void *data;
    struct loop_deferred finishing;
    struct link_address found[RESOLVE_MAX];
    size_t count;
    const char *text;
};

static void on_answer(void *data, int status, int timeouts, struct ares_addrinfo *result)
{
    struct resolve *r = data;

    (void)timeouts;
    r->text = status == ARES_SUCCESS ? "the name has no address" : ares_strerror(status);
    for (const struct ares_addrinfo_node *node = result ? result->nodes : NULL; node && r->count < RESOLVE_MAX;
         node = node->ai_next) {
        struct link_address *address = &r->found[r->count];

        if (node->ai_addrlen > sizeof(address->v6))
            continue;
        memcpy(&address->any, node->ai_addr, node->ai_addrlen);
        address->len = node->ai_addrlen;
        r->count++;
    }
    ares_freeaddrinfo(result);
    loop_defer(r->loop, &r->finishing);
}

static void finish(struct loop_deferred *deferred)
{
    struct resolve *r = container_of(deferred, struct resolve, finishing);

    ares_loop_end(&r->ares);
    if (r->done)
        r->done(r->found, r->count, r->text, r->data);
    free(r);
}

static bool is_number(struct resolve *r, const char *host, uint16_t port)
{
    struct link_address *address = &r->found[0];

    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        address->len = sizeof(address->v4);
    } else if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(port);
        address->len = sizeof(address->v6);
    } else {
        return false;
    }
    r->count = 1;
    return true;
}

static void ask(struct resolve *r, const char *host, uint16_t port)
{
    struct ares_options options = {
        .timeout = TRY_MS, .tries = TRIES, .sock_state_cb = ares_loop_on_socket, .sock_state_cb_data = &r->ares
    };
    const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
                                               .ai_socktype = SOCK_STREAM,
                                               .ai_flags = ARES_AI_NUMERICSERV };
    char service[8];
    int rc =
        ares_init_options(&r->ares.channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);

    r->ares.has_channel = rc == ARES_SUCCESS;
    if (rc != ARES_SUCCESS) {
        r->text = ares_strerror(rc);
        loop_defer(r->loop, &r->finishing);
        return;
    }
    snprintf(service, sizeof(service), "%u", port);
    ares_getaddrinfo(r->ares.channel, host, service, &hints, on_answer, r);
    ares_loop_arm(&r->ares);
}

struct resolve *resolve_begin(struct loop *loop, const char *host, uint16_t port, resolve_done done, void *data)
{
    struct resolve *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->loop = loop;
    r->done = done;
    r->data = data;
    r->finishing.callback = finish;
    ares_loop_init(&r->ares, loop);
    if (is_number(r, host, port))
        loop_defer(loop, &r->finishing);
    else
        ask(r, host, port);
    return r;
}

void resolve_cancel(struct resolve *r)
{
    if (!r)
        return;
    loop_defer_cancel(r->loop, &r->finishing);
    r->done = NULL;
    ares_loop_end(&r->ares); /* calls on_answer(), which queues the end */
    loop_defer_cancel(r->loop, &r->finishing);
    free(r);
}
