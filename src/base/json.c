/*
 * json.c - the parser and the getters.
 *
 * Theory of operation: one pass without recursion. `frames` holds one entry per open container; finished values of
 * open containers wait on `stack`, those of an inner container above those of the outer one. When a container
 * closes, its values are the top of the stack and move to the arena as one array, and the container itself is
 * pushed as a value of the outer one.
 *
 * All strings go into one block of the arena, taken at the first string or fraction: decoded text and its NUL are
 * never longer than the quoted text, so a block as long as the text that is left always suffices, and no string
 * needs to be measured before it is decoded.
 *
 * What the text can make us use is bounded by the arena's limit: the stack never holds more than the arena could
 * still take, for everything on it has to end there.
 */
#include "json.h"

#include "json_keys.h"

#include <math.h>
#include <stdio.h>

#define RUN_MAX     ((size_t)32 * 1024) /* scanned and copied at a time, so that the copy reads from the cache */
#define STACK_FIRST 1024

struct frame {
    bool is_object;
    size_t first; /* offset in the stack of its first value */
    size_t count;
    struct str key; /* waits for its value */
};

struct parser {
    struct arena *arena;
    const unsigned char *begin, *at, *end;
    char *strings; /* free part of the block for strings, at least `end - at + 1` bytes; NULL until needed */
    char *stack;
    size_t stack_used, stack_cap;
    unsigned depth, max_depth;
    bool replace_lone_surrogates;
    struct frame frames[JSON_DEPTH_CEILING];
    struct berm_error *err;
};

static int fail_at(struct parser *p, const unsigned char *where, const char *reason)
{
    return berm_fail(p->err, BERM_E_INVALID_REQUEST, 0, "invalid JSON at byte %zu: %s", (size_t)(where - p->begin),
                     reason);
}

static int fail(struct parser *p, const char *reason)
{
    return fail_at(p, p->at, reason);
}

static int fail_memory(struct parser *p)
{
    return fail(p, "the document needs more memory than it may use");
}

/* The next byte, or -1 at the end. */
static int peek(const struct parser *p)
{
    return p->at < p->end ? *p->at : -1;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

/* Room for whatever begins at `from`. */
static int need_strings(struct parser *p, const unsigned char *from)
{
    if (!p->strings)
        p->strings = arena_alloc(p->arena, (size_t)(p->end - from) + 1);
    return p->strings ? 0 : fail_memory(p);
}

/* --- strings --- */

/* The value of four hex digits, or -1. */
static int32_t hex4(const struct parser *p, const unsigned char *at)
{
    int32_t value = 0;

    if (p->end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        unsigned char c = at[i];
        unsigned char lower = c | 0x20;
        if (c >= '0' && c <= '9')
            value = value << 4 | (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value << 4 | (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static char *put_code_point(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* `at` is behind "\u". Two escapes make one character where the first is a high surrogate. */
static char *parse_unicode_escape(struct parser *p, char *out)
{
    const unsigned char *escape = p->at - 2;
    int32_t unit = hex4(p, p->at);
    int32_t low;

    if (unit < 0) {
        fail_at(p, escape, "\\u needs four hex digits");
        return NULL;
    }
    p->at += 4;
    if (unit < 0xd800 || unit > 0xdfff)
        return put_code_point(out, (uint32_t)unit);
    if (unit <= 0xdbff && p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u') {
        low = hex4(p, p->at + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            p->at += 6;
            return put_code_point(out, 0x10000 + ((uint32_t)(unit - 0xd800) << 10 | (uint32_t)(low - 0xdc00)));
        }
    }
    if (p->replace_lone_surrogates)
        return put_code_point(out, 0xfffd);
    fail_at(p, escape, "lone surrogate");
    return NULL;
}

/* `at` is at the backslash. Returns where to go on writing, or NULL. */
static char *parse_escape(struct parser *p, char *out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (p->end - p->at < 2) {
        fail(p, "unterminated string");
        return NULL;
    }
    if (p->at[1] == 'u') {
        p->at += 2;
        return parse_unicode_escape(p, out);
    }
    found = p->at[1] ? strchr(from, p->at[1]) : NULL;
    if (!found) {
        fail(p, "unknown escape");
        return NULL;
    }
    *out++ = to[found - from];
    p->at += 2;
    return out;
}

/* `at` is at the opening quote. */
static int parse_string(struct parser *p, struct str *ret)
{
    char *out;

    if (need_strings(p, p->at) < 0)
        return -1;
    out = p->strings;
    p->at++;
    for (;;) {
        size_t left = (size_t)(p->end - p->at);
        size_t run = utf8_clean_run(p->at, MIN(left, RUN_MAX), UTF8_STOP_JSON);
        int length;

        memcpy(out, p->at, run);
        out += run;
        p->at += run;
        if (p->at == p->end)
            return fail(p, "unterminated string");
        if (*p->at == '"')
            break;
        if (*p->at == '\\') {
            out = parse_escape(p, out);
            if (!out)
                return -1;
            continue;
        }
        if (*p->at < 0x20)
            return fail(p, "control character in a string");
        /* Either ill-formed, or a character that the limit on the run cut in two. */
        length = utf8_sequence(p->at, (size_t)(p->end - p->at));
        if (length <= 0)
            return fail(p, "not UTF-8");
        memcpy(out, p->at, (size_t)length);
        out += length;
        p->at += length;
    }
    p->at++;
    *out = '\0';
    *ret = (struct str){ p->strings, (size_t)(out - p->strings) };
    p->strings = out + 1;
    return 0;
}

/* --- numbers and literals --- */

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static size_t skip_digits(struct parser *p)
{
    const unsigned char *first = p->at;

    while (is_digit(peek(p)))
        p->at++;
    return (size_t)(p->at - first);
}

/* Moves over a number by the grammar of RFC 8259 and tells whether it has neither fraction nor exponent. */
static int scan_number(struct parser *p, bool *ret_whole)
{
    *ret_whole = true;
    if (peek(p) == '-')
        p->at++;
    if (peek(p) == '0')
        p->at++;
    else if (skip_digits(p) == 0)
        return fail(p, "a number needs a digit here");
    if (is_digit(peek(p)))
        return fail(p, "a number may not begin with 0");
    if (peek(p) == '.') {
        *ret_whole = false;
        p->at++;
        if (skip_digits(p) == 0)
            return fail(p, "a fraction needs a digit");
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        *ret_whole = false;
        p->at++;
        if (peek(p) == '+' || peek(p) == '-')
            p->at++;
        if (skip_digits(p) == 0)
            return fail(p, "an exponent needs a digit");
    }
    return 0;
}

/* False if it does not fit, and for -0, which is no integer that int64_t can tell from 0. */
static bool to_int64(const unsigned char *p, const unsigned char *end, int64_t *ret)
{
    bool negative = *p == '-';
    int64_t value = 0;

    for (p += negative; p < end; p++) {
        int64_t digit = negative ? '0' - *p : *p - '0';
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    if (negative && value == 0)
        return false;
    *ret = value;
    return true;
}

static int parse_number(struct parser *p, struct json *ret)
{
    const unsigned char *first = p->at;
    size_t length;
    bool whole;

    if (scan_number(p, &whole) < 0)
        return -1;
    if (whole && to_int64(first, p->at, &ret->integer)) {
        ret->type = JSON_INT;
        return 0;
    }
    if (need_strings(p, first) < 0)
        return -1;
    length = (size_t)(p->at - first);
    memcpy(p->strings, first, length);
    p->strings[length] = '\0'; /* which strtod() needs; the next string overwrites the copy */
    ret->type = JSON_DOUBLE;
    ret->number = strtod(p->strings, NULL);
    if (isinf(ret->number))
        return fail_at(p, first, "number out of range");
    return 0;
}

static int parse_literal(struct parser *p, struct json *ret)
{
    static const struct {
        struct str text;
        struct json value;
    } literals[] = {
        { { "null", 4 }, { .type = JSON_NULL } },
        { { "true", 4 }, { .type = JSON_BOOL, .boolean = true } },
        { { "false", 5 }, { .type = JSON_BOOL, .boolean = false } },
    };
    struct str rest = { (const char *)p->at, (size_t)(p->end - p->at) };

    for (size_t i = 0; i < ARRAY_SIZE(literals); i++) {
        if (str_has_prefix(rest, literals[i].text)) {
            p->at += literals[i].text.n;
            *ret = literals[i].value;
            return 0;
        }
    }
    return fail(p, p->at == p->end ? "unexpected end" : "expected a value");
}

static int parse_scalar(struct parser *p, struct json *ret)
{
    int c = peek(p);

    if (c == '"') {
        ret->type = JSON_STRING;
        return parse_string(p, &ret->string);
    }
    if (c == '-' || is_digit(c))
        return parse_number(p, ret);
    return parse_literal(p, ret);
}

/* --- containers --- */

static int push(struct parser *p, const void *value, size_t n)
{
    size_t limit = p->arena->max - p->arena->used;

    if (n > limit || p->stack_used > limit - n)
        return fail_memory(p);
    if (p->stack_cap - p->stack_used < n) {
        size_t cap = p->stack_cap ? p->stack_cap * 2 : STACK_FIRST;
        char *stack = realloc(p->stack, cap);
        if (!stack)
            return fail_memory(p);
        p->stack = stack;
        p->stack_cap = cap;
    }
    memcpy(p->stack + p->stack_used, value, n);
    p->stack_used += n;
    return 0;
}

static int push_value(struct parser *p, const struct json *value)
{
    struct frame *frame = &p->frames[p->depth - 1];

    frame->count++;
    if (frame->is_object) {
        struct json_member member = { frame->key, *value };
        return push(p, &member, sizeof(member));
    }
    return push(p, value, sizeof(*value));
}

static int open_container(struct parser *p)
{
    if (p->depth == p->max_depth)
        return fail(p, "nested too deeply");
    p->frames[p->depth++] = (struct frame){ .is_object = *p->at == '{', .first = p->stack_used };
    p->at++;
    return 0;
}

static int close_container(struct parser *p, struct json *ret)
{
    struct frame *frame = &p->frames[--p->depth];
    size_t n = p->stack_used - frame->first;
    void *items = NULL;

    if (n > 0) {
        items = arena_alloc(p->arena, n);
        if (!items)
            return fail_memory(p);
        memcpy(items, p->stack + frame->first, n);
    }
    p->stack_used = frame->first;
    if (!frame->is_object) {
        *ret = (struct json){ .type = JSON_ARRAY, .array = { items, frame->count } };
        p->at++;
        return 0;
    }
    *ret = (struct json){ .type = JSON_OBJECT, .object = { items, frame->count } };
    switch (json_keys_find_duplicate(items, frame->count)) {
    case 0:
        p->at++;
        return 0;
    case 1:
        return fail(p, "an object has a key twice");
    default:
        return fail_memory(p);
    }
}

static int parse_key(struct parser *p)
{
    skip_space(p);
    if (peek(p) != '"')
        return fail(p, "expected a key in quotes");
    if (parse_string(p, &p->frames[p->depth - 1].key) < 0)
        return -1;
    skip_space(p);
    if (peek(p) != ':')
        return fail(p, "expected ':'");
    p->at++;
    return 0;
}

/*
 * From the start of a value to its end, or to the start of the first value inside it. Returns 1 if *ret is a
 * complete value, 0 if a container was opened, -1.
 */
static int begin_value(struct parser *p, struct json *ret)
{
    bool is_object;

    skip_space(p);
    if (peek(p) != '{' && peek(p) != '[')
        return parse_scalar(p, ret) < 0 ? -1 : 1;
    is_object = *p->at == '{';
    if (open_container(p) < 0)
        return -1;
    skip_space(p);
    if (peek(p) == (is_object ? '}' : ']'))
        return close_container(p, ret) < 0 ? -1 : 1;
    return is_object ? parse_key(p) : 0;
}

/*
 * Adds a complete value to the container it is in. Returns 1 if that ends the container, which then is in *value, 0
 * if another value follows, -1.
 */
static int end_value(struct parser *p, struct json *value)
{
    bool is_object = p->frames[p->depth - 1].is_object;

    if (push_value(p, value) < 0)
        return -1;
    skip_space(p);
    if (peek(p) == (is_object ? '}' : ']'))
        return close_container(p, value) < 0 ? -1 : 1;
    if (peek(p) != ',')
        return fail(p, p->at == p->end ? "unexpected end"
                       : is_object     ? "expected ',' or '}'"
                                       : "expected ',' or ']'");
    p->at++;
    return is_object ? parse_key(p) : 0;
}

static int parse_document(struct parser *p, struct json *root)
{
    int complete;

    do {
        complete = begin_value(p, root);
        while (complete > 0 && p->depth > 0)
            complete = end_value(p, root);
    } while (complete == 0);
    if (complete < 0)
        return -1;
    skip_space(p);
    return p->at == p->end ? 0 : fail(p, "text after the value");
}

static int parse(struct arena *arena, struct str text, unsigned max_depth, bool replace_lone_surrogates,
                 const struct json **ret, struct berm_error *err)
{
    const unsigned char *begin = (const unsigned char *)(text.n > 0 ? text.p : "");
    struct parser p;
    struct json root = { .type = JSON_NULL };
    struct json *result;
    int rc;

    /* Not zeroed as a whole: the frames are four times the rest and are written before they are read. */
    p.arena = arena;
    p.begin = p.at = begin;
    p.end = begin + text.n;
    p.strings = p.stack = NULL;
    p.stack_used = p.stack_cap = 0;
    p.depth = 0;
    p.max_depth = MIN(max_depth, (unsigned)JSON_DEPTH_CEILING);
    p.replace_lone_surrogates = replace_lone_surrogates;
    p.err = err;
    rc = parse_document(&p, &root);
    free(p.stack);
    if (rc < 0)
        return -1;
    result = arena_alloc(arena, sizeof(*result));
    if (!result)
        return fail_memory(&p);
    *result = root;
    *ret = result;
    return 0;
}

int json_parse(struct arena *arena, struct str text, unsigned max_depth, const struct json **ret,
               struct berm_error *err)
{
    return parse(arena, text, max_depth, false, ret, err);
}

int json_parse_utf16(struct arena *arena, struct str text, unsigned max_depth, const struct json **ret,
                     struct berm_error *err)
{
    return parse(arena, text, max_depth, true, ret, err);
}

/* --- getters --- */

const struct json *json_get(const struct json *object, const char *key)
{
    struct str wanted = str_from(key);

    if (!object || object->type != JSON_OBJECT)
        return NULL;
    for (size_t i = 0; i < object->object.count; i++)
        if (str_eq(object->object.members[i].key, wanted))
            return &object->object.members[i].value;
    return NULL;
}

/* 0 and *ret, which is NULL when the member is absent or null; -1 when it has another type. */
static int field(const struct json *object, const char *key, enum json_type type, const char *type_name,
                 const struct json **ret, struct berm_error *err)
{
    const struct json *value = json_get(object, key);

    *ret = NULL;
    if (!value || value->type == JSON_NULL)
        return 0;
    if (value->type != type)
        return berm_fail_field(err, key, "%s must be %s", key, type_name);
    *ret = value;
    return 0;
}

int json_field_cstring(const struct json *object, const char *key, const char **ret, struct berm_error *err)
{
    const struct json *value;

    if (field(object, key, JSON_STRING, "a string", &value, err) < 0)
        return -1;
    if (!value)
        return 0;
    if (memchr(value->string.p, '\0', value->string.n))
        return berm_fail_field(err, key, "%s must not contain a NUL character", key);
    *ret = value->string.p;
    return 0;
}

int json_field_string(const struct json *object, const char *key, struct str *ret, struct berm_error *err)
{
    const struct json *value;

    if (field(object, key, JSON_STRING, "a string", &value, err) < 0)
        return -1;
    if (value)
        *ret = value->string;
    return 0;
}

int json_field_int(const struct json *object, const char *key, int64_t min, int64_t max, int64_t *ret,
                   struct berm_error *err)
{
    const struct json *value;

    if (field(object, key, JSON_INT, "a whole number", &value, err) < 0)
        return -1;
    if (!value)
        return 0;
    if (value->integer < min || value->integer > max)
        return berm_fail_field(err, key, "%s must be between %lld and %lld", key, (long long)min, (long long)max);
    *ret = value->integer;
    return 0;
}

int json_field_bool(const struct json *object, const char *key, bool *ret, struct berm_error *err)
{
    const struct json *value;

    if (field(object, key, JSON_BOOL, "true or false", &value, err) < 0)
        return -1;
    if (value)
        *ret = value->boolean;
    return 0;
}

int json_field_object(const struct json *object, const char *key, const struct json **ret, struct berm_error *err)
{
    const struct json *value;

    if (field(object, key, JSON_OBJECT, "an object", &value, err) < 0)
        return -1;
    if (value)
        *ret = value;
    return 0;
}

int json_field_array(const struct json *object, const char *key, const struct json **ret, struct berm_error *err)
{
    const struct json *value;

    if (field(object, key, JSON_ARRAY, "an array", &value, err) < 0)
        return -1;
    if (value)
        *ret = value;
    return 0;
}
