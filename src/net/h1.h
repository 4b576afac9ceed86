/*
 * h1.h - HTTP/1.1 framing (RFC 9110, RFC 9112): a strict parser for requests and responses and a body decoder.
 * Pure functions over bytes: no sockets, no allocation, no state between calls except struct h1_body.
 *
 * We refuse whatever RFC 9112 lets a recipient refuse, because two parsers that frame one byte stream differently
 * are request smuggling: bare CR or LF as a line end, obs-fold, white space before the colon, empty or non-token
 * field names, control characters in values, Content-Length with Transfer-Encoding, more than one Content-Length
 * (also "5, 5"), a value that is not 1*DIGIT or overflows, any Transfer-Encoding but exactly "chunked" once, tabs
 * around either, and Transfer-Encoding in HTTP/1.0; requests without exactly one Host (HTTP/1.1), with a Host that
 * is not host[:port], with a target that is not origin-form (or "*" for OPTIONS, or absolute-form http:// that
 * names the same host), with a non-token method, or CONNECT; white space in a chunk-size line, chunk data without
 * CRLF, and trailers that would frame or route.
 */
#pragma once

#include "base/base.h"

#define H1_MAX_HEADERS 100

struct h1_header {
    struct str name;  /* as sent */
    struct str value; /* trimmed */
};

struct h1_limits {
    size_t max_head;    /* bytes of start line and fields together; default 32 KiB */
    size_t max_headers; /* at most H1_MAX_HEADERS */
};

enum h1_framing {
    H1_NO_BODY,
    H1_CONTENT_LENGTH,
    H1_CHUNKED,
    H1_UNTIL_CLOSE /* responses only */
};

/* All slices borrow the input bytes. */
struct h1_head {
    /* requests */
    struct str method;
    struct str target; /* as sent */
    struct str path;   /* target without the query (and without scheme and authority of absolute-form) */
    struct str query;  /* without '?'; n == 0 if absent or empty */
    struct str host;   /* the Host field, or the authority of absolute-form */
    /* responses */
    int status;
    struct str reason;
    /* both */
    int minor_version; /* 0 or 1 */
    struct h1_header headers[H1_MAX_HEADERS];
    size_t header_count;
    enum h1_framing framing;
    uint64_t content_length; /* with H1_CONTENT_LENGTH */
    bool keep_alive;         /* after this message, by version and Connection */
    bool expect_continue;
    struct str upgrade; /* the Upgrade field if Connection names "upgrade", else n == 0 */
};

/*
 * > 0: the head is complete and takes that many bytes. 0: more bytes are needed. < 0: refused, -(HTTP status to
 * answer): -400, -417, -431, -501, -505. Parsing is incremental in effect: calling again with more bytes is
 * correct, and a head over the limit is refused as soon as the limit is passed. A single CRLF before a request line
 * is skipped.
 */
ssize_t h1_parse_request(const char *p, size_t n, const struct h1_limits *limits, struct h1_head *ret);

/*
 * The same for what must be a CONNECT: the target is host ":" port, also in `host`; a body is refused, and no Host
 * field is needed, as nothing is routed by it. All bytes after the head belong to the tunnel.
 */
ssize_t h1_parse_connect(const char *p, size_t n, const struct h1_limits *limits, struct h1_head *ret);

/*
 * The same for a response; `request_method` decides about the body (HEAD, CONNECT). 1xx heads are returned like
 * others, with H1_NO_BODY. < 0 is -502.
 */
ssize_t h1_parse_response(const char *p, size_t n, const struct h1_limits *limits, struct str request_method,
                          struct h1_head *ret);

/* The first field of that name (case-insensitive), or {NULL, 0}. */
struct str h1_header(const struct h1_head *head, const char *name);

/* After the head's bytes [from, from + n) have been copied to `to`: lets the slices point there. */
void h1_head_move(struct h1_head *head, const char *from, size_t n, const char *to);

/* The line that begins a chunk of `n` bytes, in `room`. */
#define H1_CHUNK_LINE 18
struct str h1_chunk_line(uint64_t n, char room[H1_CHUNK_LINE]);

/* Body decoder: feed it wire bytes, get content bytes. */
struct h1_body {
    enum h1_framing framing;
    uint8_t state;
    uint16_t extensions; /* bytes of chunk extensions so far */
    uint16_t line;       /* bytes of the current chunk size or of the trailer section */
    uint16_t name_at;    /* bytes of the current trailer's name */
    uint8_t name_may_be; /* bit i: so far it is that of the i-th forbidden trailer */
    uint64_t remaining;
};

void h1_body_init(struct h1_body *body, const struct h1_head *head);

/*
 * Looks at up to `n` bytes. Returns the bytes it took (may be 0 when more input is needed), with *content the slice
 * of them that is content (may be empty: chunk framing), and *done when the body has ended. -1: the framing is
 * broken. Call again while it takes bytes. Chunk extensions are skipped, at most 4 KiB; trailers are skipped, at
 * most 8 KiB. For H1_UNTIL_CLOSE the end is the connection's, which the caller sees.
 */
ssize_t h1_body_feed(struct h1_body *body, const char *p, size_t n, struct str *content, bool *done);

/* Decodes %XX of `in` into `out` (NUL-terminated; may be the same memory). -1: bad escape, a NUL, or no room. */
int percent_decode(struct str in, char *out, size_t out_size);
/* The same for a value of a query, where "+" is a space, as forms and most clients write it. */
int query_decode(struct str in, char *out, size_t out_size);

/* The raw (still encoded) value of `name` in a query string: true if present. */
bool query_get(struct str query, const char *name, struct str *ret);
