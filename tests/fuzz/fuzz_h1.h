/*
 * fuzz_h1.h - what holds for requests and responses alike. A target includes it and gives `parse`.
 *
 * What is checked: no prefix of the bytes gets another verdict than the whole (but "more"), every slice lies in the
 * head, the fields that frame a message are what the framing says, and a body is the same however it is cut.
 */
#pragma once

#include "base/buf.h"
#include "net/h1.h"

#include <assert.h>

#define CONTENT_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = { .max_head = 4096, .max_headers = H1_MAX_HEADERS };

typedef ssize_t parse_fn(const char *p, size_t n, struct h1_head *ret);

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void check_slice(struct str s, const char *p, size_t n)
{
    if (s.n > 0 && !(s.n == 1 && s.p[0] == '/'))
        assert(s.p >= p && s.p + s.n <= p + n);
    for (size_t i = 0; i < s.n; i++)
        assert((uint8_t)s.p[i] >= 0x20 || s.p[i] == '\t');
}

/* Reads the framing out of the fields anew. */
static void check_framing(const struct h1_head *head)
{
    unsigned lengths = 0, codings = 0, hosts = 0;
    uint64_t length = 0;

    for (size_t i = 0; i < head->header_count; i++) {
        struct h1_header h = head->headers[i];
        hosts += str_eq_nocase(h.name, STR("host"));
        if (str_eq_nocase(h.name, STR("transfer-encoding"))) {
            codings++;
            assert(str_eq_nocase(h.value, STR("chunked")));
        }
        if (str_eq_nocase(h.name, STR("content-length"))) {
            lengths++;
            assert(str_to_u64(h.value, &length) == 0);
        }
    }
    assert(lengths + codings <= 1);
    assert(codings == 0 || head->minor_version == 1);
    if (head->framing == H1_CHUNKED)
        assert(codings == 1);
    if (head->framing == H1_CONTENT_LENGTH)
        assert(lengths == 1 && head->content_length == length);
    if (head->status == 0) {
        assert(hosts == 1 || (hosts == 0 && head->minor_version == 0));
        assert(head->framing != H1_UNTIL_CLOSE);
        assert((head->framing == H1_NO_BODY) == (lengths + codings == 0));
    }
}

static void check_head(const struct h1_head *head, const char *p, size_t n)
{
    check_slice(head->method, p, n);
    check_slice(head->target, p, n);
    check_slice(head->path, p, n);
    check_slice(head->query, p, n);
    check_slice(head->host, p, n);
    check_slice(head->reason, p, n);
    check_slice(head->upgrade, p, n);
    assert(head->header_count <= limits.max_headers);
    for (size_t i = 0; i < head->header_count; i++) {
        assert(head->headers[i].name.n > 0);
        check_slice(head->headers[i].name, p, n);
        check_slice(head->headers[i].value, p, n);
    }
    check_framing(head);
}

static void check_prefix(parse_fn *parse, const char *p, size_t n, ssize_t whole, size_t prefix)
{
    static struct h1_head head;
    ssize_t rc = parse(p, prefix, &head);

    if (whole > 0)
        assert(rc == (prefix >= (size_t)whole ? whole : 0));
    else if (whole == 0)
        assert(rc == 0);
    else
        assert(rc <= 0);
    assert(prefix < n || rc == whole);
}

struct decoded {
    ssize_t took; /* -1: refused */
    bool done;
    struct buf content;
};

static struct decoded decode(const struct h1_head *head, const char *p, size_t n, size_t max_step, uint32_t seed)
{
    struct decoded d = { .took = 0 };
    struct h1_body body;
    size_t at = 0;

    buf_init(&d.content, CONTENT_MAX);
    h1_body_init(&body, head);
    while (!d.done) {
        size_t step = max_step == 0 ? n - at : 1 + next_random(&seed) % max_step;
        struct str content;
        ssize_t took = h1_body_feed(&body, p + at, MIN(step, n - at), &content, &d.done);
        if (took < 0) {
            d.took = -1;
            return d;
        }
        assert((size_t)took <= MIN(step, n - at));
        assert(content.n == 0 || (content.p >= p + at && content.p + content.n <= p + at + took));
        buf_append_str(&d.content, content);
        at += (size_t)took;
        if (took == 0)
            break;
    }
    d.took = (ssize_t)at;
    return d;
}

static void check_body(const struct h1_head *head, const char *p, size_t n, uint32_t seed)
{
    struct decoded whole = decode(head, p, n, 0, seed);

    for (size_t step = 1; step <= 64; step *= 4) {
        struct decoded cut = decode(head, p, n, step, seed);
        assert(cut.took == whole.took && cut.done == whole.done);
        assert(str_eq(buf_str(&cut.content), buf_str(&whole.content)));
        buf_free(&cut.content);
    }
    if (head->framing == H1_CONTENT_LENGTH)
        assert(whole.done == (n >= head->content_length));
    buf_free(&whole.content);
}

/* The messages in the bytes, one behind the other. */
static void check_messages(parse_fn *parse, const char *p, size_t n)
{
    static struct h1_head head;
    uint32_t seed = (uint32_t)n;

    for (size_t at = 0; at < n;) {
        const char *here = p + at;
        size_t left = n - at;
        ssize_t rc = parse(here, left, &head);
        struct decoded body;
        for (size_t i = 0; i < 64; i++)
            check_prefix(parse, here, left, rc, left <= 64 ? MIN(i, left) : next_random(&seed) % (left + 1));
        if (rc <= 0)
            return;
        assert((size_t)rc <= left);
        assert(parse(here, left, &head) == rc);
        check_head(&head, here, (size_t)rc);
        check_body(&head, here + rc, left - (size_t)rc, seed);
        body = decode(&head, here + rc, left - (size_t)rc, 0, seed);
        buf_free(&body.content);
        if (body.took < 0 || !body.done)
            return;
        at += (size_t)(rc + body.took);
    }
}
