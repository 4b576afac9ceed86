/* fuzz_json.c - any bytes as a JSON document, as text to be cleaned, and as base64. */
#include "base/base64.h"
#include "base/json.h"

#include <assert.h>

#define MEMORY_MAX ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool equal(const struct json *a, const struct json *b);

static bool equal_members(const struct json *a, const struct json *b)
{
    for (size_t i = 0; i < a->object.count; i++)
        if (!str_eq(a->object.members[i].key, b->object.members[i].key) ||
            !equal(&a->object.members[i].value, &b->object.members[i].value))
            return false;
    return true;
}

static bool equal_items(const struct json *a, const struct json *b)
{
    for (size_t i = 0; i < a->array.count; i++)
        if (!equal(&a->array.items[i], &b->array.items[i]))
            return false;
    return true;
}

/* 1.0 is written as 1 and so comes back as an integer; it is the same number. */
static bool equal(const struct json *a, const struct json *b)
{
    if (a->type == JSON_DOUBLE && b->type == JSON_INT)
        return a->number == (double)b->integer;
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->boolean == b->boolean;
    case JSON_INT:
        return a->integer == b->integer;
    case JSON_DOUBLE:
        return memcmp(&a->number, &b->number, sizeof(a->number)) == 0;
    case JSON_STRING:
        return str_eq(a->string, b->string) && utf8_valid(a->string);
    case JSON_ARRAY:
        return a->array.count == b->array.count && equal_items(a, b);
    case JSON_OBJECT:
        return a->object.count == b->object.count && equal_members(a, b);
    }
    return false;
}

static void write_value(struct buf *out, const struct json *value)
{
    struct json_writer w;

    buf_init(out, MEMORY_MAX);
    json_writer_init(&w, out);
    json_value(&w, value);
    assert(json_writer_finish(&w) == 0);
    assert(utf8_valid(buf_str(out)));
}

static void try_document(struct str text)
{
    const struct json *first, *second;
    struct arena a, b;
    struct buf once, twice;

    arena_init(&a, MEMORY_MAX);
    if (json_parse(&a, text, JSON_MAX_DEPTH, &first, NULL) == 0) {
        write_value(&once, first);
        arena_init(&b, MEMORY_MAX);
        assert(json_parse(&b, buf_str(&once), JSON_MAX_DEPTH, &second, NULL) == 0);
        assert(equal(first, second));
        write_value(&twice, second);
        assert(str_eq(buf_str(&once), buf_str(&twice)));
        buf_free(&once);
        buf_free(&twice);
        arena_free(&b);
    }
    arena_free(&a);
    arena_init(&a, text.n * 8); /* may or may not be enough */
    if (json_parse(&a, text, 4, &first, NULL) == 0)
        assert(a.used <= text.n * 8);
    arena_free(&a);
}

static void try_text(struct str text, bool drop_nul)
{
    struct utf8_stream stream = { .count = 0 };
    size_t cut = text.n > 0 ? (unsigned char)text.p[0] % text.n : 0;
    struct buf whole, parts;

    buf_init(&whole, MEMORY_MAX);
    buf_init(&parts, MEMORY_MAX);
    assert(utf8_sanitize(&whole, text, drop_nul) == 0);
    assert(utf8_valid(buf_str(&whole)));
    assert(!drop_nul || whole.len == 0 || !memchr(buf_head(&whole), '\0', whole.len));
    assert(drop_nul || !utf8_valid(text) || str_eq(text, buf_str(&whole)));
    assert(utf8_stream_part(&stream, &parts, (struct str){ text.p, cut }, drop_nul) == 0);
    assert(utf8_stream_part(&stream, &parts, (struct str){ text.p + cut, text.n - cut }, drop_nul) == 0);
    assert(utf8_stream_end(&stream, &parts) == 0);
    assert(str_eq(buf_str(&whole), buf_str(&parts)));
    buf_free(&whole);
    buf_free(&parts);
}

/* Any bytes, as one string: what the parser reads back is the text with its ill-formed parts replaced. */
static void try_string(struct str text)
{
    const struct json *value;
    struct json_writer w;
    struct arena arena;
    struct buf out, clean;

    buf_init(&out, MEMORY_MAX);
    buf_init(&clean, MEMORY_MAX);
    json_writer_init(&w, &out);
    json_string(&w, text);
    assert(json_writer_finish(&w) == 0);
    arena_init(&arena, MEMORY_MAX);
    assert(json_parse(&arena, buf_str(&out), 0, &value, NULL) == 0);
    assert(utf8_sanitize(&clean, text, false) == 0);
    assert(str_eq(value->string, buf_str(&clean)));
    arena_free(&arena);
    buf_free(&out);
    buf_free(&clean);
}

static void try_base64(struct str bytes)
{
    size_t room = BASE64_ENCODED_SIZE(bytes.n), n;
    char *text = malloc(room + 1);
    char *back = malloc(room / 4 * 3 + 3);

    assert(text && back);
    assert(base64_encode(bytes.p, bytes.n, text) == room);
    assert(base64_decode((struct str){ text, room }, back, &n) == 0);
    assert(str_eq((struct str){ back, n }, bytes));
    free(back);
    back = malloc(bytes.n / 4 * 3 + 3);
    assert(back);
    if (base64_decode(bytes, back, &n) == 0)
        assert(n <= bytes.n / 4 * 3 + 2);
    free(text);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = { (const char *)data, size };

    try_document(input);
    try_text(input, false);
    try_text(input, true);
    try_string(input);
    try_base64(input);
    return 0;
}
