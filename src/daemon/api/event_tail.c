#include "daemon/api/event_tail.h"

#include "base/sys.h"
#include "daemon/api/proxy.h"
#include "net/sse.h"

void event_tail_init(struct event_tail *tail)
{
    tail->newlines = 2;
}

void event_tail_write(struct event_tail *tail, struct request *request, struct str piece)
{
    for (size_t i = piece.n > 2 ? piece.n - 2 : 0; i < piece.n; i++)
        tail->newlines = piece.p[i] == '\n' ? MIN(tail->newlines + 1, 2u) : 0;
    request_write(request, piece);
}

void event_tail_fail(const struct event_tail *tail, struct request *request, const struct berm_error *err)
{
    struct json_writer w;
    struct buf document, event;
    char time[25];

    buf_init(&document, 4096);
    buf_init(&event, 8192);
    format_timestamp(clock_realtime_ms(), time);
    json_writer_init(&w, &document);
    json_object_begin(&w);
    json_pair_cstring(&w, "type", "error");
    json_pair_cstring(&w, "error", err->message);
    json_pair_cstring(&w, "data", err->message); /* where the SDK looks for it */
    json_pair_cstring(&w, "code", berm_err_wire(err->code));
    if (err->code == BERM_E_SANDBOX_DIED)
        json_pair_cstring(&w, "reason", end_reason_name(agent_link_reason(request->link)));
    json_pair_cstring(&w, "timestamp", time);
    json_object_end(&w);
    if (tail->newlines == 2 && json_writer_finish(&w) == 0 && sse_append(&event, NULL, buf_str(&document)) == 0) {
        request_write(request, buf_str(&event));
        request_end(request);
    } else {
        http_exchange_abort(request->exchange);
    }
    buf_free(&document);
    buf_free(&event);
}

void event_tail_stop(const struct event_tail *tail, struct request *request)
{
    struct berm_error err;

    berm_fail(&err, BERM_E_EXEC_TRANSPORT_ERROR, 0, "bermd stops and waits no longer for the sandbox");
    proxy_close(request);
    event_tail_fail(tail, request, &err);
}
