#include "daemon/egress/client_hello.h"

#define RECORD_HANDSHAKE 22
#define HANDSHAKE_HELLO  1
#define EXTENSION_SNI    0
#define NAME_TYPE_HOST   0
#define RECORD_HEADER    5
#define RECORD_BODY_MAX  16384
#define HANDSHAKE_HEADER 4

/* --- names --- */

static bool name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Labels of 1 to 63 bytes; the last one is not all digits, for then it is an address in some form. */
static bool labels_valid(const char *p, size_t n)
{
    size_t label = 0;
    bool digits = true;

    for (size_t i = 0; i < n; i++) {
        if (p[i] == '.') {
            if (label == 0)
                return false;
            label = 0;
            digits = true;
            continue;
        }
        if (!name_byte(p[i]) || ++label > 63)
            return false;
        digits = digits && p[i] >= '0' && p[i] <= '9';
    }
    return label > 0 && !digits;
}

int host_name_normalize(struct str name, char out[HOST_NAME_MAX_BYTES + 1], struct str *ret)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > HOST_NAME_MAX_BYTES)
        return -1;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        out[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    out[name.n] = '\0';
    if (!labels_valid(out, name.n))
        return -1;
    *ret = (struct str){ out, name.n };
    return 0;
}

/* --- a reader that never goes past its end --- */

struct reader {
    const uint8_t *p;
    size_t n;
    bool failed;
};

static size_t take_number(struct reader *r, size_t bytes)
{
    size_t value = 0;

    if (r->failed || r->n < bytes) {
        r->failed = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | r->p[i];
    r->p += bytes;
    r->n -= bytes;
    return value;
}

static struct reader take_bytes(struct reader *r, size_t n)
{
    struct reader part = { r->p, n, false };

    if (r->failed || r->n < n) {
        r->failed = true;
        return (struct reader){ NULL, 0, true };
    }
    r->p += n;
    r->n -= n;
    return part;
}

/* A vector whose length stands before it in `bytes` bytes. */
static struct reader take_vector(struct reader *r, size_t bytes)
{
    return take_bytes(r, take_number(r, bytes));
}

/* --- the message --- */

static int read_server_name(struct reader extension, char *storage, struct str *ret)
{
    struct reader list = take_vector(&extension, 2), name;
    size_t type;

    if (extension.failed || extension.n > 0)
        return -1;
    type = take_number(&list, 1);
    name = take_vector(&list, 2);
    if (list.failed || list.n > 0 || type != NAME_TYPE_HOST)
        return -1;
    return host_name_normalize((struct str){ (const char *)name.p, name.n }, storage, ret);
}

static int read_extensions(struct reader *hello, char *storage, struct str *ret)
{
    struct reader list;
    bool seen = false;

    if (hello->n == 0) /* a client that knows of no extensions */
        return 0;
    list = take_vector(hello, 2);
    if (hello->failed || hello->n > 0)
        return -1;
    while (list.n > 0) {
        size_t type = take_number(&list, 2);
        struct reader body = take_vector(&list, 2);

        if (list.failed)
            return -1;
        if (type != EXTENSION_SNI)
            continue;
        if (seen || read_server_name(body, storage, ret) < 0)
            return -1;
        seen = true;
    }
    return 0;
}

static int read_hello(struct reader hello, char *storage, struct str *ret)
{
    size_t version = take_number(&hello, 2);

    take_bytes(&hello, 32);            /* random */
    if (take_vector(&hello, 1).n > 32) /* session id */
        return -1;
    if (take_vector(&hello, 2).n % 2 != 0) /* cipher suites */
        return -1;
    take_vector(&hello, 1); /* compression methods */
    if (hello.failed || version >> 8 != 3)
        return -1;
    return read_extensions(&hello, storage, ret);
}

/*
 * The handshake message's bytes out of the records: as many as are there, up to `max`. *ret_wire: how far on the
 * wire the last of them reaches. -1: something else than handshake records.
 */
static ssize_t gather(const uint8_t *p, size_t n, uint8_t *out, size_t max, size_t *ret_wire)
{
    size_t at = 0, have = 0;

    while (have < max && n - at >= RECORD_HEADER) {
        size_t body = (size_t)p[at + 3] << 8 | p[at + 4], there, part;

        if (p[at] != RECORD_HANDSHAKE || p[at + 1] != 3 || body == 0 || body > RECORD_BODY_MAX)
            return -1;
        at += RECORD_HEADER;
        there = MIN(body, n - at);
        part = MIN(there, max - have);
        memcpy(out + have, p + at, part);
        have += part;
        at += part;
        if (there < body || part < there)
            break;
    }
    *ret_wire = at;
    return (ssize_t)have;
}

ssize_t client_hello_parse(const char *p, size_t n, char storage[HOST_NAME_MAX_BYTES + 1], struct str *ret_name)
{
    uint8_t message[CLIENT_HELLO_MAX];
    size_t wire, length;
    ssize_t have;

    *ret_name = (struct str){ "", 0 };
    if (n > 0 && (uint8_t)p[0] != RECORD_HANDSHAKE)
        return -1;
    have = gather((const uint8_t *)p, n, message, HANDSHAKE_HEADER, &wire);
    if (have < 0)
        return -1;
    if (have >= 1 && message[0] != HANDSHAKE_HELLO)
        return -1;
    if (have < HANDSHAKE_HEADER)
        return n >= CLIENT_HELLO_MAX ? -1 : 0;
    length = (size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3];
    if (length > sizeof(message) - HANDSHAKE_HEADER)
        return -1;
    have = gather((const uint8_t *)p, n, message, HANDSHAKE_HEADER + length, &wire);
    if (have < 0)
        return -1;
    if ((size_t)have < HANDSHAKE_HEADER + length)
        return n >= 2 * CLIENT_HELLO_MAX ? -1 : 0;
    if (read_hello((struct reader){ message + HANDSHAKE_HEADER, length, false }, storage, ret_name) < 0)
        return -1;
    return (ssize_t)wire;
}
