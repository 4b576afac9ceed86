/*
 * fuzz_ws_message.c - what clients say on /ws.
 *
 * What the strict JSON parser takes must not be called broken (unless it is nested deeper than the scanner goes,
 * which is deeper than the parser does), and each part must be the text of the member that the parser finds; parts
 * lie in the message and do not overlap.
 */
#include "agent/http/ws_message.h"

#include "base/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The parts, in the order of the struct. */
static const char *const names[] = { "type", "id", "method", "path", "headers", "body" };

static bool same(const struct json *a, const struct json *b)
{
    struct json_writer w;
    struct buf texts[2];
    bool equal;

    for (int i = 0; i < 2; i++) {
        buf_init(&texts[i], (size_t)1 << 24);
        json_writer_init(&w, &texts[i]);
        json_value(&w, i == 0 ? a : b);
        assert(json_writer_finish(&w) == 0);
    }
    equal = str_eq(buf_str(&texts[0]), buf_str(&texts[1]));
    buf_free(&texts[0]);
    buf_free(&texts[1]);
    return equal;
}

/* A key may be written with escapes, which the scanner does not read as ours. */
static bool has_escapes(struct str text)
{
    return memchr(text.p, '\\', text.n) != NULL;
}

static void compare(struct arena *arena, struct str text, const struct json *whole,
                    const struct ws_message *message)
{
    const struct str *parts = &message->type;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct json *want = json_get(whole, names[i]);
        const struct json *got = NULL;
        if (parts[i].n == 0) {
            assert(!want || has_escapes(text));
            continue;
        }
        assert(parts[i].p >= text.p && parts[i].p + parts[i].n <= text.p + text.n);
        assert(json_parse(arena, parts[i], JSON_MAX_DEPTH, &got, NULL) == 0);
        assert(want && same(want, got));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    const struct json *whole = NULL;
    enum ws_message_kind kind;
    struct ws_message message;
    struct arena arena;

    if (!utf8_valid(text))
        return 0;
    kind = ws_message_read(text, &message);
    arena_init(&arena, (size_t)1 << 26);
    if (json_parse(&arena, text, JSON_MAX_DEPTH, &whole, NULL) == 0) {
        assert(kind != WS_MESSAGE_BROKEN);
        if (whole->type == JSON_OBJECT)
            compare(&arena, text, whole, &message);
        else
            assert(kind == WS_MESSAGE_UNKNOWN);
    }
    if (kind == WS_MESSAGE_REQUEST || kind == WS_MESSAGE_CANCEL)
        assert(message.type.n > 0 && message.id.n <= WS_MESSAGE_ID_MAX);
    arena_free(&arena);
    return 0;
}
