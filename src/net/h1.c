/*
 * h1.c - request and response heads.
 *
 * The head is read line by line. A line ends at the first LF, which must follow a CR, and the character classes
 * keep any other control character out, so there is only one way to split the bytes into lines. Fields that decide
 * where the body ends are gathered in struct framing_fields while the lines go by and judged once at the end.
 */
#include "h1.h"

#include "h1_chars.h"

#define VISIBLE  (H1_VALUE | H1_TARGET)
#define TCHAR    (H1_TOKEN | H1_VALUE | H1_TARGET)
#define HOSTCHAR (H1_TOKEN | H1_VALUE | H1_TARGET | H1_HOST)

const uint8_t h1_chars[256] = {
    ['\t'] = H1_VALUE,
    [' '] = H1_VALUE,
    ['!'] = TCHAR,
    ['"'] = H1_VALUE,
    ['#'] = H1_TOKEN | H1_VALUE,
    ['$' ... '\''] = TCHAR,
    ['(' ... ')'] = VISIBLE,
    ['*' ... '+'] = TCHAR,
    [','] = VISIBLE,
    ['-' ... '.'] = HOSTCHAR,
    ['/'] = VISIBLE,
    ['0' ... '9'] = HOSTCHAR,
    [':' ... ';'] = VISIBLE,
    ['<'] = H1_VALUE,
    ['='] = VISIBLE,
    ['>'] = H1_VALUE,
    ['?' ... '@'] = VISIBLE,
    ['A' ... 'Z'] = HOSTCHAR,
    ['[' ... ']'] = VISIBLE,
    ['^'] = TCHAR,
    ['_'] = HOSTCHAR,
    ['`'] = TCHAR,
    ['a' ... 'z'] = HOSTCHAR,
    ['{'] = VISIBLE,
    ['|'] = TCHAR,
    ['}'] = VISIBLE,
    ['~'] = HOSTCHAR,
    [0x80 ... 0xff] = H1_VALUE,
};

struct framing_fields {
    unsigned hosts;
    unsigned content_lengths;
    unsigned transfer_encodings;
    struct str host;
    struct str content_length;
    struct str transfer_encoding;
    struct str upgrade;
    bool close;
    bool keep_alive;
    bool names_upgrade;
    bool expectation_unknown;
    bool tabs; /* in the white space of a field that frames */
};

/* The next line without its CRLF. 1: there is one. 0: it is not complete. -1: a bare LF. */
static int next_line(const char **p, const char *end, struct str *ret)
{
    const char *start = *p;
    const char *lf = start < end ? memchr(start, '\n', (size_t)(end - start)) : NULL;

    if (!lf)
        return 0;
    if (lf == start || lf[-1] != '\r')
        return -1;
    *ret = (struct str){ start, (size_t)(lf - start) - 1 };
    *p = lf + 1;
    return 1;
}

static struct str take_until(struct str *s, char c)
{
    const char *at = s->n > 0 ? memchr(s->p, c, s->n) : NULL;
    struct str part = { s->p, at ? (size_t)(at - s->p) : s->n };
    size_t skip = at ? part.n + 1 : s->n;

    s->p += skip;
    s->n -= skip;
    return part;
}

static inline bool is_nocase(struct str s, const char *word)
{
    return str_eq_nocase(s, str_from(word));
}

/* "HTTP/1.0" or "HTTP/1.1": 0. Another version of HTTP: -505. Anything else: -400. */
static int parse_version(struct str s, int *ret_minor)
{
    if (s.n != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !h1_is_digit(s.p[5]) || s.p[6] != '.' || !h1_is_digit(s.p[7]))
        return -400;
    if (s.p[5] != '1' || s.p[7] > '1')
        return -505;
    *ret_minor = s.p[7] - '0';
    return 0;
}

static bool valid_port(struct str s)
{
    uint64_t port;

    return s.n <= 5 && str_to_u64(s, &port) == 0 && port <= 65535;
}

/* host [":" port], with a host that cannot be taken for two: no user information, no list, no escapes. */
static bool valid_authority(struct str s)
{
    struct str host;

    if (s.n > 0 && s.p[0] == '[') {
        struct str rest = { s.p + 1, s.n - 1 };
        host = take_until(&rest, ']');
        for (size_t i = 0; i < host.n; i++)
            if (h1_hex(host.p[i]) < 0 && host.p[i] != ':' && host.p[i] != '.')
                return false;
        if (host.n < 2 || host.n > 45 || host.n + 2 > s.n)
            return false;
        s.p += host.n + 2;
        s.n -= host.n + 2;
        return s.n == 0 || (s.p[0] == ':' && valid_port((struct str){ s.p + 1, s.n - 1 }));
    }
    host = (struct str){ s.p, s.n };
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != ':')
            continue;
        host.n = i;
        if (!valid_port((struct str){ s.p + i + 1, s.n - i - 1 }))
            return false;
        break;
    }
    return host.n > 0 && host.n <= 255 && h1_all(host, H1_HOST);
}

static void split_query(struct h1_head *head, struct str s)
{
    head->path = take_until(&s, '?');
    head->query = s;
}

static int parse_target(struct h1_head *head)
{
    static const struct str scheme = { "http://", 7 };
    struct str t = head->target;
    size_t authority = 0;

    if (t.n == 0 || !h1_all(t, H1_TARGET))
        return -400;
    if (t.p[0] == '/') {
        split_query(head, t);
        return 0;
    }
    if (str_is(t, "*") && str_is(head->method, "OPTIONS")) {
        head->path = t;
        return 0;
    }
    if (t.n <= scheme.n || !str_eq_nocase((struct str){ t.p, scheme.n }, scheme))
        return -400;
    t.p += scheme.n;
    t.n -= scheme.n;
    while (authority < t.n && t.p[authority] != '/' && t.p[authority] != '?')
        authority++;
    head->host = (struct str){ t.p, authority };
    if (!valid_authority(head->host))
        return -400;
    split_query(head, (struct str){ t.p + authority, t.n - authority });
    if (head->path.n == 0)
        head->path = STR("/");
    return 0;
}

/* What follows a CONNECT is a tunnel to some parsers and HTTP to others: only who asked for one gets it. */
static int parse_connect_target(struct h1_head *head)
{
    const char *colon = head->target.n ? memrchr(head->target.p, ':', head->target.n) : NULL;

    if (!colon || colon[1] < '0' || colon[1] > '9' || !valid_authority(head->target))
        return -400;
    head->host = head->target;
    return 0;
}

static int parse_request_line(struct str line, bool connect, struct h1_head *head)
{
    int rc;

    head->method = take_until(&line, ' ');
    head->target = take_until(&line, ' ');
    if (!h1_is_token(head->method))
        return -400;
    rc = parse_version(line, &head->minor_version);
    if (rc < 0)
        return rc;
    if (str_is(head->method, "CONNECT") != connect)
        return -501;
    return connect ? parse_connect_target(head) : parse_target(head);
}

static int parse_status_line(struct str line, struct h1_head *head)
{
    struct str version = take_until(&line, ' ');

    if (parse_version(version, &head->minor_version) < 0)
        return -502;
    if (line.n < 4 || !h1_is_digit(line.p[0]) || !h1_is_digit(line.p[1]) || !h1_is_digit(line.p[2]) ||
        line.p[3] != ' ')
        return -502;
    head->status = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    head->reason = (struct str){ line.p + 4, line.n - 4 };
    if (head->status < 100 || head->status > 599 || !h1_all(head->reason, H1_VALUE))
        return -502;
    return 0;
}

static void note_connection(struct str value, struct framing_fields *fields)
{
    while (value.n > 0) {
        struct str option = str_trim(take_until(&value, ','));
        if (is_nocase(option, "close"))
            fields->close = true;
        else if (is_nocase(option, "keep-alive"))
            fields->keep_alive = true;
        else if (is_nocase(option, "upgrade"))
            fields->names_upgrade = true;
    }
}

/* The length tells most names apart from the few that matter here. */
static void note_field(const struct h1_header *h, struct str line, struct h1_head *head,
                       struct framing_fields *fields)
{
    switch (h->name.n) {
    case 4:
        if (!is_nocase(h->name, "Host"))
            break;
        fields->hosts++;
        fields->host = h->value;
        break;
    case 6:
        if (!is_nocase(h->name, "Expect"))
            break;
        if (is_nocase(h->value, "100-continue"))
            head->expect_continue = true;
        else
            fields->expectation_unknown = true;
        break;
    case 7:
        if (is_nocase(h->name, "Upgrade") && fields->upgrade.n == 0)
            fields->upgrade = h->value;
        break;
    case 10:
        if (is_nocase(h->name, "Connection"))
            note_connection(h->value, fields);
        break;
    case 14:
        if (is_nocase(h->name, "Content-Length")) {
            fields->content_lengths++;
            fields->tabs |= memchr(line.p, '\t', line.n) != NULL;
            fields->content_length = h->value;
        }
        break;
    case 17:
        if (is_nocase(h->name, "Transfer-Encoding")) {
            fields->transfer_encodings++;
            fields->tabs |= memchr(line.p, '\t', line.n) != NULL;
            fields->transfer_encoding = h->value;
        }
        break;
    }
}

static int parse_field(struct str line, struct h1_header *ret)
{
    size_t name = 0;

    while (name < line.n && h1_is(line.p[name], H1_TOKEN))
        name++;
    if (name == 0 || name == line.n || line.p[name] != ':')
        return -1;
    ret->name = (struct str){ line.p, name };
    ret->value = str_trim((struct str){ line.p + name + 1, line.n - name - 1 });
    return h1_all(ret->value, H1_VALUE) ? 0 : -1;
}

/* The field lines up to and with the empty one: > 0 done, 0 incomplete, < 0 refused. */
static int parse_fields(const char **p, const char *end, size_t max, struct h1_head *head,
                        struct framing_fields *fields)
{
    struct str line;
    int rc;

    while ((rc = next_line(p, end, &line)) > 0) {
        if (line.n == 0)
            return 1;
        if (head->header_count == max)
            return -431;
        if (parse_field(line, &head->headers[head->header_count]) < 0)
            return -400;
        note_field(&head->headers[head->header_count], line, head, fields);
        head->header_count++;
    }
    return rc < 0 ? -400 : 0;
}

/* Only "chunked" alone is understood; 501 is for a body that would have an end if we knew the other codings. */
static int judge_transfer_encoding(const struct framing_fields *fields)
{
    struct str last = { "", 0 };
    struct str rest = fields->transfer_encoding;

    if (fields->transfer_encodings == 1 && is_nocase(rest, "chunked"))
        return 0;
    while (rest.n > 0) {
        if (is_nocase(last, "chunked"))
            return -400;
        last = str_trim(take_until(&rest, ','));
    }
    return fields->transfer_encodings == 1 && is_nocase(last, "chunked") ? -501 : -400;
}

/* What Content-Length and Transfer-Encoding say: 0 and head->framing (H1_NO_BODY: neither is there), or refused. */
static int judge_framing(struct h1_head *head, const struct framing_fields *fields)
{
    head->framing = H1_NO_BODY;
    /* Legal around a value, but there are parsers that stop at one. */
    if (fields->tabs)
        return -400;
    if (fields->transfer_encodings > 0) {
        int rc;
        if (fields->content_lengths > 0 || head->minor_version == 0)
            return -400;
        rc = judge_transfer_encoding(fields);
        if (rc < 0)
            return rc;
        head->framing = H1_CHUNKED;
    } else if (fields->content_lengths > 0) {
        if (fields->content_lengths > 1 || str_to_u64(fields->content_length, &head->content_length) < 0 ||
            head->content_length > INT64_MAX)
            return -400;
        head->framing = H1_CONTENT_LENGTH;
    }
    return 0;
}

static void judge_connection(struct h1_head *head, const struct framing_fields *fields)
{
    head->keep_alive = !fields->close && (head->minor_version > 0 || fields->keep_alive);
    if (fields->names_upgrade && head->minor_version > 0)
        head->upgrade = fields->upgrade;
}

static int judge_connect(struct h1_head *head, const struct framing_fields *fields)
{
    int rc = judge_framing(head, fields);

    if (rc < 0)
        return rc;
    return fields->hosts > 1 || head->framing != H1_NO_BODY || fields->expectation_unknown ? -400 : 0;
}

static int judge_request(struct h1_head *head, const struct framing_fields *fields)
{
    int rc;

    if (fields->hosts > 1 || (fields->hosts == 0 && head->minor_version > 0))
        return -400;
    if (head->host.n == 0)
        head->host = fields->host;
    /* An absolute target and a Host that differ send one request to two places. */
    if (fields->hosts == 1 && (!valid_authority(fields->host) || !str_eq_nocase(fields->host, head->host)))
        return -400;
    rc = judge_framing(head, fields);
    if (rc < 0)
        return rc;
    if (fields->expectation_unknown)
        return -417;
    if (head->minor_version == 0)
        head->expect_continue = false;
    judge_connection(head, fields);
    return 0;
}

static int judge_response(struct h1_head *head, const struct framing_fields *fields, struct str request_method)
{
    bool interim = head->status < 200;

    if (judge_framing(head, fields) < 0)
        return -502;
    judge_connection(head, fields);
    /* These never have a body; a length that promises one is somebody's chance to put a response of his own there.
     */
    if ((interim || head->status == 204) && (head->framing == H1_CHUNKED || head->content_length > 0))
        return -502;
    if (str_is(request_method, "CONNECT") && head->status >= 200 && head->status < 300) {
        head->framing = H1_NO_BODY;
        head->keep_alive = false;
    } else if (interim || head->status == 204 || head->status == 304 || str_is(request_method, "HEAD")) {
        head->framing = H1_NO_BODY;
    } else if (head->framing == H1_NO_BODY) {
        head->framing = H1_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return 0;
}

/* Clearing the field table too would cost more than parsing a small request. */
static void head_reset(struct h1_head *head)
{
    memset(head, 0, offsetof(struct h1_head, headers));
    head->header_count = 0;
    head->framing = H1_NO_BODY;
    head->content_length = 0;
    head->keep_alive = false;
    head->expect_continue = false;
    head->upgrade = (struct str){ NULL, 0 };
}

/* Says early that bytes without a line end are no start line, e.g. a TLS hello, instead of waiting for more. */
static bool may_become_start_line(const char *p, const char *end)
{
    struct str s = { p, (size_t)(end - p) };

    if (s.n > 0 && s.p[s.n - 1] == '\r')
        s.n--;
    return h1_all(s, H1_VALUE);
}

enum head_kind { HEAD_REQUEST, HEAD_CONNECT, HEAD_RESPONSE };

static int parse_start_line(struct str line, enum head_kind kind, struct h1_head *head)
{
    return kind == HEAD_RESPONSE ? parse_status_line(line, head)
                                 : parse_request_line(line, kind == HEAD_CONNECT, head);
}

static int judge_head(struct h1_head *head, enum head_kind kind, const struct framing_fields *fields,
                      struct str request_method)
{
    if (kind == HEAD_RESPONSE)
        return judge_response(head, fields, request_method);
    return kind == HEAD_CONNECT ? judge_connect(head, fields) : judge_request(head, fields);
}

static ssize_t parse_head(const char *p, size_t n, const struct h1_limits *limits, enum head_kind kind,
                          struct str request_method, struct h1_head *ret)
{
    const char *at = p;
    const char *end = p + MIN(n, limits->max_head);
    int too_little = n > limits->max_head ? -431 : 0;
    struct framing_fields fields = { 0 };
    struct str line;
    int rc;

    head_reset(ret);
    if (kind == HEAD_REQUEST && n >= 2 && p[0] == '\r' && p[1] == '\n')
        at += 2;
    rc = next_line(&at, end, &line);
    if (rc == 0)
        return may_become_start_line(at, end) ? too_little : -400;
    if (rc < 0)
        return -400;
    rc = parse_start_line(line, kind, ret);
    if (rc < 0)
        return rc;
    rc = parse_fields(&at, end, MIN(limits->max_headers, (size_t)H1_MAX_HEADERS), ret, &fields);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return too_little;
    rc = judge_head(ret, kind, &fields, request_method);
    return rc < 0 ? rc : at - p;
}

ssize_t h1_parse_request(const char *p, size_t n, const struct h1_limits *limits, struct h1_head *ret)
{
    return parse_head(p, n, limits, HEAD_REQUEST, STR(""), ret);
}

ssize_t h1_parse_connect(const char *p, size_t n, const struct h1_limits *limits, struct h1_head *ret)
{
    return parse_head(p, n, limits, HEAD_CONNECT, STR(""), ret);
}

ssize_t h1_parse_response(const char *p, size_t n, const struct h1_limits *limits, struct str request_method,
                          struct h1_head *ret)
{
    ssize_t rc = parse_head(p, n, limits, HEAD_RESPONSE, request_method, ret);

    return rc < 0 ? -502 : rc;
}

struct str h1_header(const struct h1_head *head, const char *name)
{
    struct str wanted = str_from(name);

    for (size_t i = 0; i < head->header_count; i++)
        if (str_eq_nocase(head->headers[i].name, wanted))
            return head->headers[i].value;
    return (struct str){ NULL, 0 };
}

bool h1_field_allowed(struct str name, struct str value)
{
    if (is_nocase(name, "Content-Length") || is_nocase(name, "Transfer-Encoding") || is_nocase(name, "Connection"))
        return false;
    return h1_is_token(name) && value.p && h1_all(value, H1_VALUE);
}

static void move_slice(struct str *s, const char *from, size_t n, const char *to)
{
    uintptr_t offset = (uintptr_t)s->p - (uintptr_t)from;

    if (s->p && offset <= n)
        s->p = to + offset;
}

void h1_head_move(struct h1_head *head, const char *from, size_t n, const char *to)
{
    struct str *slices[] = { &head->method, &head->target, &head->path,   &head->query,
                             &head->host,   &head->reason, &head->upgrade };

    for (size_t i = 0; i < ARRAY_SIZE(slices); i++)
        move_slice(slices[i], from, n, to);
    for (size_t i = 0; i < head->header_count; i++) {
        move_slice(&head->headers[i].name, from, n, to);
        move_slice(&head->headers[i].value, from, n, to);
    }
}
