/*
 * h1_body.c - where a body ends.
 *
 * A chunked body is read by a state machine over single bytes; only chunk data is taken in runs. Extensions and
 * trailers are checked against their grammar and dropped. Their bytes are counted over the whole body, not per
 * line, so that a stream of one-byte chunks with long extensions is refused and not just slow.
 */
#include "h1.h"

#include "h1_chars.h"

#define MAX_EXTENSIONS 4096
#define MAX_TRAILERS   8192

enum state {
    STATE_SIZE_FIRST,
    STATE_SIZE,
    STATE_EXT_NAME_FIRST,
    STATE_EXT_NAME,
    STATE_EXT_VALUE_FIRST,
    STATE_EXT_VALUE,
    STATE_EXT_QUOTED,
    STATE_EXT_ESCAPED,
    STATE_EXT_QUOTED_END,
    STATE_SIZE_LF,
    STATE_DATA,
    STATE_DATA_CR,
    STATE_DATA_LF,
    STATE_TRAILER_FIRST,
    STATE_TRAILER_NAME,
    STATE_TRAILER_VALUE,
    STATE_TRAILER_LF,
    STATE_END_LF,
    STATE_DONE
};

void h1_body_init(struct h1_body *body, const struct h1_head *head)
{
    *body = (struct h1_body){ .framing = head->framing, .state = STATE_SIZE_FIRST };
    if (head->framing == H1_CONTENT_LENGTH)
        body->remaining = head->content_length;
}

static int add_size_digit(struct h1_body *body, char c)
{
    int digit = h1_hex(c);

    /* 15 digits are more than any body, and leading zeros without end are an attack. */
    if (digit < 0 || ++body->line > 15)
        return -1;
    body->remaining = body->remaining << 4 | (unsigned)digit;
    return STATE_SIZE;
}

/* After a size or a whole extension: another extension or the end of the line. */
static int end_of_size(char c)
{
    if (c == ';')
        return STATE_EXT_NAME_FIRST;
    return c == '\r' ? STATE_SIZE_LF : -1;
}

static int extension_step(struct h1_body *body, char c)
{
    if (++body->extensions > MAX_EXTENSIONS)
        return -1;
    switch (body->state) {
    case STATE_EXT_NAME_FIRST:
        return h1_is(c, H1_TOKEN) ? STATE_EXT_NAME : -1;
    case STATE_EXT_NAME:
        if (h1_is(c, H1_TOKEN))
            return STATE_EXT_NAME;
        return c == '=' ? STATE_EXT_VALUE_FIRST : end_of_size(c);
    case STATE_EXT_VALUE_FIRST:
        if (c == '"')
            return STATE_EXT_QUOTED;
        return h1_is(c, H1_TOKEN) ? STATE_EXT_VALUE : -1;
    case STATE_EXT_VALUE:
        return h1_is(c, H1_TOKEN) ? STATE_EXT_VALUE : end_of_size(c);
    case STATE_EXT_QUOTED:
        if (c == '"')
            return STATE_EXT_QUOTED_END;
        if (c == '\\')
            return STATE_EXT_ESCAPED;
        return h1_is(c, H1_VALUE) ? STATE_EXT_QUOTED : -1;
    case STATE_EXT_ESCAPED:
        return h1_is(c, H1_VALUE) ? STATE_EXT_QUOTED : -1;
    default:
        return end_of_size(c);
    }
}

/* Some parsers act on these where they stand, so nobody may put them where the others have stopped looking. */
static const char *const forbidden_trailers[] = { "content-length", "transfer-encoding", "host", "connection",
                                                  "upgrade" };

static int trailer_name_step(struct h1_body *body, char c)
{
    char lower = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;

    if (body->state == STATE_TRAILER_FIRST) {
        body->name_at = 0;
        body->name_may_be = (1 << ARRAY_SIZE(forbidden_trailers)) - 1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(forbidden_trailers); i++) {
        if (!(body->name_may_be & 1 << i))
            continue;
        /* At the colon the name itself must have ended, too. */
        if (c == ':' && forbidden_trailers[i][body->name_at] == '\0')
            return -1;
        if (lower != forbidden_trailers[i][body->name_at])
            body->name_may_be &= (uint8_t) ~(1 << i);
    }
    body->name_at++;
    if (c == ':')
        return STATE_TRAILER_VALUE;
    return h1_is(c, H1_TOKEN) ? STATE_TRAILER_NAME : -1;
}

static int trailer_step(struct h1_body *body, char c)
{
    if (++body->line > MAX_TRAILERS)
        return -1;
    switch (body->state) {
    case STATE_TRAILER_FIRST:
        if (c == '\r')
            return STATE_END_LF;
        return c == ':' ? -1 : trailer_name_step(body, c);
    case STATE_TRAILER_NAME:
        return trailer_name_step(body, c);
    case STATE_TRAILER_VALUE:
        if (c == '\r')
            return STATE_TRAILER_LF;
        return h1_is(c, H1_VALUE) ? STATE_TRAILER_VALUE : -1;
    case STATE_TRAILER_LF:
        return c == '\n' ? STATE_TRAILER_FIRST : -1;
    default:
        return c == '\n' ? STATE_DONE : -1;
    }
}

/* One byte of anything but chunk data: the next state, or -1. */
static int step(struct h1_body *body, char c)
{
    switch (body->state) {
    case STATE_SIZE_FIRST:
        body->remaining = 0;
        body->line = 0;
        return add_size_digit(body, c);
    case STATE_SIZE:
        if (c == ';' || c == '\r')
            return end_of_size(c);
        return add_size_digit(body, c);
    case STATE_SIZE_LF:
        if (c != '\n')
            return -1;
        body->line = 0;
        return body->remaining > 0 ? STATE_DATA : STATE_TRAILER_FIRST;
    case STATE_DATA_CR:
        return c == '\r' ? STATE_DATA_LF : -1;
    case STATE_DATA_LF:
        return c == '\n' ? STATE_SIZE_FIRST : -1;
    default:
        return body->state < STATE_SIZE_LF ? extension_step(body, c) : trailer_step(body, c);
    }
}

static size_t take_content(struct h1_body *body, const char *p, size_t n, struct str *content)
{
    *content = (struct str){ p, n < body->remaining ? n : (size_t)body->remaining };
    body->remaining -= content->n;
    return content->n;
}

static ssize_t feed_chunked(struct h1_body *body, const char *p, size_t n, struct str *content)
{
    size_t i = 0;

    while (i < n && body->state != STATE_DATA && body->state != STATE_DONE) {
        int next = step(body, p[i]);
        if (next < 0)
            return -1;
        body->state = (uint8_t)next;
        i++;
    }
    if (i < n && body->state == STATE_DATA) {
        i += take_content(body, p + i, n - i, content);
        if (body->remaining == 0)
            body->state = STATE_DATA_CR;
    }
    return (ssize_t)i;
}

ssize_t h1_body_feed(struct h1_body *body, const char *p, size_t n, struct str *content, bool *done)
{
    ssize_t took = 0;

    *content = (struct str){ p, 0 };
    *done = false;
    switch (body->framing) {
    case H1_NO_BODY:
        *done = true;
        break;
    case H1_CONTENT_LENGTH:
        took = (ssize_t)take_content(body, p, n, content);
        *done = body->remaining == 0;
        break;
    case H1_CHUNKED:
        took = feed_chunked(body, p, n, content);
        *done = took >= 0 && body->state == STATE_DONE;
        break;
    case H1_UNTIL_CLOSE:
        *content = (struct str){ p, n };
        took = (ssize_t)n;
        break;
    }
    return took;
}

struct str h1_chunk_line(uint64_t n, char room[H1_CHUNK_LINE])
{
    size_t at = H1_CHUNK_LINE - 2;

    room[at] = '\r';
    room[at + 1] = '\n';
    do {
        room[--at] = "0123456789abcdef"[n & 15];
        n >>= 4;
    } while (n > 0);
    return (struct str){ room + at, H1_CHUNK_LINE - at };
}
