#include "sse_parser.h"

void sse_parser_init(struct sse_parser *p, size_t max,
                     int (*on_event)(void *data, const struct sse_event *event, struct berm_error *err), void *data)
{
    *p = (struct sse_parser){ .max = max, .on_event = on_event, .callback_data = data };
    buf_init(&p->line, max);
    buf_init(&p->data, max);
}

void sse_parser_free(struct sse_parser *p)
{
    buf_free(&p->line);
    buf_free(&p->data);
}

static int too_large(struct berm_error *err)
{
    return berm_fail(err, BERM_E_PROTOCOL, 0, "an event of the stream is larger than allowed");
}

/* The empty line: hands the event over and starts the next. An event without data is dropped, as the standard says.
 */
static int dispatch(struct sse_parser *p, struct berm_error *err)
{
    struct sse_event event = { .name = STR("message"), .data = buf_str(&p->data) };
    int rc = 0;

    if (p->name_len > 0)
        event.name = (struct str){ p->name, p->name_len };
    if (p->has_data)
        rc = p->on_event(p->callback_data, &event, err);
    buf_clear(&p->data);
    p->has_data = false;
    p->name_len = 0;
    return rc;
}

static int take_data(struct sse_parser *p, struct str value, struct berm_error *err)
{
    if ((p->has_data && buf_append(&p->data, "\n", 1) < 0) || buf_append_str(&p->data, value) < 0)
        return too_large(err);
    p->has_data = true;
    return 0;
}

static int take_line(struct sse_parser *p, struct str line, struct berm_error *err)
{
    struct str field = line, value = { "", 0 };
    const char *colon;

    if (!p->started && str_has_prefix(line, STR("\xef\xbb\xbf")))
        line = field = (struct str){ line.p + 3, line.n - 3 };
    p->started = true;
    if (line.n == 0)
        return dispatch(p, err);

    colon = memchr(line.p, ':', line.n);
    if (colon) {
        field.n = (size_t)(colon - line.p);
        value = (struct str){ colon + 1, line.n - field.n - 1 };
        if (value.n > 0 && value.p[0] == ' ')
            value = (struct str){ value.p + 1, value.n - 1 };
    }
    if (str_eq(field, STR("data")))
        return take_data(p, value, err);
    if (str_eq(field, STR("event"))) {
        if (value.n > SSE_EVENT_NAME_MAX)
            return too_large(err);
        if (value.n > 0)
            memcpy(p->name, value.p, value.n);
        p->name_len = value.n;
    }
    return 0;
}

/* The first CR or LF of the piece, or NULL. Payload lines are long, so this is where the time goes. */
static const char *find_line_end(const char *p, size_t n)
{
    const char *lf = memchr(p, '\n', n);
    const char *cr = memchr(p, '\r', lf ? (size_t)(lf - p) : n);

    return cr ? cr : lf;
}

int sse_parser_feed(struct sse_parser *p, const void *bytes, size_t n, struct berm_error *err)
{
    const char *at = bytes;

    while (n > 0) {
        const char *end;
        size_t part;
        int rc;

        if (p->skip_lf && *at == '\n') {
            p->skip_lf = false;
            at++;
            n--;
            continue;
        }
        p->skip_lf = false;
        end = find_line_end(at, n);
        part = end ? (size_t)(end - at) : n;
        if (p->line.len > 0 || !end) {
            if (buf_append(&p->line, at, part) < 0)
                return too_large(err);
            if (!end)
                return 0;
            rc = take_line(p, buf_str(&p->line), err);
            buf_clear(&p->line);
        } else {
            rc = take_line(p, (struct str){ at, part }, err);
        }
        if (rc != 0)
            return -1;
        p->skip_lf = *end == '\r';
        at = end + 1;
        n -= part + 1;
    }
    return 0;
}
