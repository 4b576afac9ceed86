/*
 * h2_head.c - heads between HTTP/2 and HTTP/1.1.
 *
 * nghttp2 refuses what RFC 9113 calls malformed, but the text that is put together here is read as lines: so every
 * byte that could end one, or split a request line, is looked for here as well.
 */
#include "h2_internal.h"

#include "base/base64.h"
#include "h1_chars.h"

#define RESPONSE_FIELDS (H1_MAX_HEADERS + 1)

enum pseudo { METHOD, SCHEME, AUTHORITY, PATH, PROTOCOL, PSEUDO_COUNT };

static const char *const pseudo_names[PSEUDO_COUNT] = { ":method", ":scheme", ":authority", ":path", ":protocol" };

struct h2_request {
    char *pseudo[PSEUDO_COUNT];
    struct buf fields; /* lines */
    struct buf cookie; /* its parts, joined (RFC 9113 section 8.2.3) */
    char *host;
    size_t bytes, max;
    bool has_length;
    bool bad;       /* 400 */
    bool too_large; /* 431 */
};

struct h2_request *h2_request_new(size_t max)
{
    struct h2_request *request = calloc(1, sizeof(*request));

    if (!request)
        return NULL;
    request->max = max;
    buf_init(&request->fields, 2 * max);
    buf_init(&request->cookie, max);
    return request;
}

void h2_request_free(struct h2_request *request)
{
    if (!request)
        return;
    for (size_t i = 0; i < PSEUDO_COUNT; i++)
        free(request->pseudo[i]);
    free(request->host);
    buf_free(&request->fields);
    buf_free(&request->cookie);
    free(request);
}

bool h2_request_is_connect(const struct h2_request *request)
{
    return request->pseudo[PROTOCOL] != NULL;
}

/* --- taking it in --- */

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return s.n > 0;
}

static bool is_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z')
            return false;
    return h1_is_token(s);
}

static int take_pseudo(struct h2_request *request, struct str name, struct str value)
{
    for (size_t i = 0; i < PSEUDO_COUNT; i++) {
        if (!str_is(name, pseudo_names[i]))
            continue;
        if (request->pseudo[i] || !is_plain(value))
            return -1;
        request->pseudo[i] = str_dup(value);
        return request->pseudo[i] ? 0 : -1;
    }
    return -1;
}

static int add_line(struct buf *out, const char *name, struct str value)
{
    return buf_append_str(out, str_from(name)) < 0 || buf_append(out, ": ", 2) < 0 ||
                   buf_append_str(out, value) < 0 || buf_append(out, "\r\n", 2) < 0
               ? -1
               : 0;
}

/* What speaks of one hop has no place in HTTP/2; of "te" only the word about trailers has. */
static bool is_of_the_hop(struct str name, struct str value)
{
    static const char *const names[] = { "connection", "keep-alive", "proxy-connection", "transfer-encoding",
                                         "upgrade" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_is(name, names[i]))
            return true;
    return str_is(name, "te") && !str_is(value, "trailers");
}

static int take_host(struct h2_request *request, struct str value)
{
    if (request->host || !is_plain(value)) {
        request->bad = true;
        return 0;
    }
    request->host = str_dup(value);
    return request->host ? 0 : -1;
}

static int take_field(struct h2_request *request, struct str name, struct str value)
{
    struct buf *out = &request->fields;

    if (!is_name(name) || !is_value(value) || is_of_the_hop(name, value))
        return -1;
    if (str_is(name, "host"))
        return take_host(request, value);
    if (str_is(name, "te") || str_is(name, "sec-websocket-key"))
        return 0;
    if (str_is(name, "cookie"))
        return (request->cookie.len == 0 || buf_append(&request->cookie, "; ", 2) == 0) &&
                       buf_append_str(&request->cookie, value) == 0
                   ? 0
                   : -1;
    request->has_length |= str_is(name, "content-length");
    return buf_append_str(out, name) < 0 || add_line(out, "", value) < 0 ? -1 : 0;
}

int h2_request_add(struct h2_request *request, struct str name, struct str value)
{
    request->bytes += name.n + value.n + 4;
    if (request->bytes > request->max) {
        /* A few bytes may unpack to millions: a request that is far too large is not even answered. */
        request->too_large = true;
        return request->bytes > 4 * request->max ? -1 : 0;
    }
    if (name.n > 0 && name.p[0] == ':')
        return take_pseudo(request, name, value);
    return take_field(request, name, value);
}

/* --- writing it down --- */

static int check(const struct h2_request *request)
{
    const char *const *pseudo = (const char *const *)request->pseudo;
    const char *path = pseudo[PATH];

    if (request->too_large)
        return 431;
    if (request->bad || !pseudo[METHOD] || !pseudo[SCHEME] || !path)
        return 400;
    if (strcmp(pseudo[SCHEME], "http") && strcmp(pseudo[SCHEME], "https"))
        return 400;
    /* One name: two would let the one that is checked differ from the one that is served. */
    if (request->host && pseudo[AUTHORITY] && strcmp(request->host, pseudo[AUTHORITY]))
        return 400;
    if (path[0] != '/' && !(path[0] == '*' && !path[1] && !strcmp(pseudo[METHOD], "OPTIONS")))
        return 400;
    if (!strcmp(pseudo[METHOD], "CONNECT") != (pseudo[PROTOCOL] != NULL))
        return 400;
    return pseudo[PROTOCOL] && strcmp(pseudo[PROTOCOL], "websocket") ? 501 : 0;
}

/* The server of a WebSocket wants a key; with HTTP/2 nobody looks at what it answers to it. */
static int add_upgrade(struct buf *out)
{
    char key[BASE64_ENCODED_SIZE(16)];
    uint8_t bytes[16];

    random_bytes(bytes, sizeof(bytes));
    base64_encode(bytes, sizeof(bytes), key);
    return buf_append_str(out, STR("Connection: Upgrade\r\nUpgrade: websocket\r\n")) < 0 ||
                   add_line(out, "Sec-WebSocket-Key", (struct str){ key, sizeof(key) }) < 0
               ? -1
               : 0;
}

static int write_all(const struct h2_request *request, bool ended, struct buf *out)
{
    bool connect = h2_request_is_connect(request);
    const char *host = request->pseudo[AUTHORITY] ? request->pseudo[AUTHORITY] : request->host;

    if (buf_printf(out, "%s %s HTTP/1.1\r\n", connect ? "GET" : request->pseudo[METHOD], request->pseudo[PATH]) < 0)
        return -1;
    if ((host && add_line(out, "Host", str_from(host)) < 0) || buf_append_str(out, buf_str(&request->fields)) < 0)
        return -1;
    if (request->cookie.len > 0 && add_line(out, "cookie", buf_str(&request->cookie)) < 0)
        return -1;
    if (connect && add_upgrade(out) < 0)
        return -1;
    if (!connect && !ended && !request->has_length && add_line(out, "Transfer-Encoding", STR("chunked")) < 0)
        return -1;
    return buf_append(out, "\r\n", 2);
}

int h2_request_write(const struct h2_request *request, bool ended, struct buf *out)
{
    int status = check(request);

    if (status != 0)
        return status;
    return write_all(request, ended, out) < 0 ? 431 : 0;
}

/* --- responses --- */

struct response_fields {
    nghttp2_nv items[RESPONSE_FIELDS];
    size_t count;
    char *names; /* in lower case */
};

static bool is_dropped(struct str name, bool upgraded)
{
    static const char *const names[] = { "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding",
                                         "Upgrade" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq_nocase(name, str_from(names[i])))
            return true;
    return upgraded && str_eq_nocase(name, STR("Sec-WebSocket-Accept"));
}

static void add_response_field(struct response_fields *fields, struct str name, struct str value)
{
    char *lower = fields->names;

    for (size_t i = 0; i < name.n; i++)
        lower[i] = (char)(name.p[i] | (name.p[i] >= 'A' && name.p[i] <= 'Z' ? 0x20 : 0));
    fields->names += name.n;
    fields->items[fields->count++] = (nghttp2_nv){
        .name = (uint8_t *)lower, .value = (uint8_t *)(uintptr_t)value.p, .namelen = name.n, .valuelen = value.n
    };
}

int h2_submit_head(struct h2_stream *stream, struct str text, const nghttp2_data_provider *body)
{
    static const struct h1_limits limits = { SIZE_MAX, H1_MAX_HEADERS };
    static struct h1_head head; /* large, and done with at the end */
    static struct response_fields fields;
    _cleanup_free_ char *names = malloc(text.n + sizeof(":status"));
    nghttp2_session *session = stream->h2->session;
    char status[4];
    int shown;

    if (!names || h1_parse_response(text.p, text.n, &limits, STR("GET"), &head) != (ssize_t)text.n)
        return -1;
    shown = head.status == 101 ? 200 : head.status;
    snprintf(status, sizeof(status), "%03d", shown);
    fields.count = 0;
    fields.names = names;
    add_response_field(&fields, STR(":status"), str_from(status));
    for (size_t i = 0; i < head.header_count; i++)
        if (!is_dropped(head.headers[i].name, head.status == 101))
            add_response_field(&fields, head.headers[i].name, head.headers[i].value);
    if (shown == 100)
        return nghttp2_submit_headers(session, 0, stream->id, NULL, fields.items, fields.count, NULL) < 0 ? -1 : 0;
    return nghttp2_submit_response(session, stream->id, fields.items, fields.count, body) < 0 ? -1 : 0;
}
