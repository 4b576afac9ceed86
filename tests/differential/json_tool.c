/*
 * json_tool.c - shows the differential test what our JSON module makes of each case.
 *
 * In: cases, each a little-endian 32-bit length, then that many bytes, the first of which says what to do:
 *   J  parse the rest as JSON and write the value again
 *   S  write the rest as one JSON string, given to the writer in two parts
 *   U  replace what is not UTF-8
 * Out, per case: a length likewise, then '+' and the result, or '-' and why it was refused.
 */
#include "base/json.h"

#include <stdio.h>

#define CASE_MAX   ((size_t)16 << 20)
#define MEMORY_MAX ((size_t)256 << 20)

static int parse_and_write(struct str text, struct buf *out)
{
    struct arena arena;
    const struct json *value;
    struct json_writer w;
    struct berm_error err;
    int rc;

    arena_init(&arena, MEMORY_MAX);
    if (json_parse(&arena, text, JSON_MAX_DEPTH, &value, &err) < 0) {
        arena_free(&arena);
        return buf_printf(out, "-%s", err.message);
    }
    buf_append_str(out, STR("+"));
    json_writer_init(&w, out);
    json_value(&w, value);
    rc = json_writer_finish(&w);
    arena_free(&arena);
    return rc;
}

static int write_string(struct str text, struct buf *out)
{
    struct json_writer w;

    buf_append_str(out, STR("+"));
    json_writer_init(&w, out);
    json_string_begin(&w);
    json_string_part(&w, (struct str){ text.p, text.n / 2 });
    json_string_part(&w, (struct str){ text.p + text.n / 2, text.n - text.n / 2 });
    json_string_end(&w);
    return json_writer_finish(&w);
}

static int sanitize(struct str text, struct buf *out)
{
    buf_append_str(out, STR("+"));
    return utf8_sanitize(out, text, false);
}

static int answer(struct str input, struct buf *out)
{
    struct str rest = { input.p + 1, input.n - 1 };

    switch (input.p[0]) {
    case 'J':
        return parse_and_write(rest, out);
    case 'S':
        return write_string(rest, out);
    case 'U':
        return sanitize(rest, out);
    default:
        return -1;
    }
}

static int read_case(struct buf *in)
{
    unsigned char head[4];
    size_t n;
    char *room;

    if (fread(head, 1, sizeof(head), stdin) != sizeof(head))
        return 0;
    n = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    buf_clear(in);
    room = n > 0 ? buf_reserve(in, n) : NULL;
    if (!room || fread(room, 1, n, stdin) != n)
        return -1;
    buf_commit(in, n);
    return 1;
}

static int write_result(const struct buf *out)
{
    const unsigned char head[4] = { (unsigned char)out->len, (unsigned char)(out->len >> 8),
                                    (unsigned char)(out->len >> 16), (unsigned char)(out->len >> 24) };

    if (fwrite(head, 1, sizeof(head), stdout) != sizeof(head))
        return -1;
    return fwrite(buf_head(out), 1, out->len, stdout) == out->len ? 0 : -1;
}

int main(void)
{
    struct buf in, out;
    int more;

    buf_init(&in, CASE_MAX);
    buf_init(&out, MEMORY_MAX);
    while ((more = read_case(&in)) > 0) {
        buf_clear(&out);
        if (answer(buf_str(&in), &out) < 0 || write_result(&out) < 0) {
            fprintf(stderr, "json_tool: a case could not be answered\n");
            return 1;
        }
    }
    buf_free(&in);
    buf_free(&out);
    return more < 0 || fflush(stdout) != 0;
}
