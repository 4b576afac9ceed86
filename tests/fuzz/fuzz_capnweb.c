/* fuzz_capnweb.c - lines as the messages of a peer. Whatever they are, all that they made is gone at the end. */
#include "capnweb/capnweb.h"
#include "tests/tools/capnweb_service.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
    bool failed, woken;
    size_t sent;
};

static void on_send(struct str message, void *data)
{
    struct peer *peer = data;
    const struct json *json;
    struct arena arena;

    assert(!peer->failed);
    peer->sent += message.n;
    arena_init(&arena, (size_t)64 << 20);
    assert(json_parse(&arena, message, JSON_DEPTH_CEILING, &json, NULL) == 0);
    assert(json->type == JSON_ARRAY && json->array.count > 0);
    arena_free(&arena);
}

static void on_fail(struct str reason, void *data)
{
    struct peer *peer = data;

    (void)reason;
    assert(!peer->failed);
    peer->failed = true;
}

static void on_wake(void *data)
{
    ((struct peer *)data)->woken = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer peer = { .failed = false };
    struct capnweb_transport transport = { on_send, on_fail, on_wake, &peer };
    struct capnweb_limits limits;
    struct capnweb_session *session;
    struct capnweb_call *open;
    struct str rest = { (const char *)data, size };

    capnweb_limits_default(&limits);
    limits.max_message = 1 << 16;
    limits.max_sent = 1 << 17;
    limits.max_held = 1 << 18;
    limits.max_entries = 200;
    session = capnweb_session_new(&transport, &limits, service_main());
    assert(session);
    while (rest.n > 0 && peer.sent < (size_t)8 << 20) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        capnweb_receive(session, (struct str){ rest.p, n });
        open = size % 2 ? service_take_open_call() : NULL;
        if (open)
            capnweb_resolve(open, open->arg_count > 0 ? open->args[0] : CAPNWEB_NOTHING);
        if (peer.woken)
            capnweb_run(session);
        peer.woken = false;
        n += end != NULL;
        rest = (struct str){ rest.p + n, rest.n - n };
    }
    open = service_take_open_call();
    if (open && size % 3)
        capnweb_resolve(TAKE_PTR(open), CAPNWEB_NOTHING);
    capnweb_session_free(session);
    if (open)
        capnweb_resolve(open, CAPNWEB_NOTHING);
    assert(service_alive() == 0);
    return 0;
}
