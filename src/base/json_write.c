/* json_write.c - the writer. */
#include "json.h"

#include <math.h>
#include <stdio.h>

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){ .out = out };
}

static void put(struct json_writer *w, const char *p, size_t n)
{
    if (!w->failed && buf_append(w->out, p, n) < 0)
        w->failed = true;
}

/* --- nesting: a bit per level, level 0 being the outermost container --- */

static bool get_bit(const uint64_t *bits, unsigned i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static void set_bit(uint64_t *bits, unsigned i, bool value)
{
    uint64_t mask = UINT64_C(1) << (i % 64);

    bits[i / 64] = value ? bits[i / 64] | mask : bits[i / 64] & ~mask;
}

static bool inside_object(const struct json_writer *w)
{
    return w->depth > 0 && get_bit(w->is_object, w->depth - 1);
}

static void put_comma(struct json_writer *w)
{
    if (get_bit(w->has_items, w->depth - 1))
        put(w, ",", 1);
    set_bit(w->has_items, w->depth - 1, true);
}

/* Whatever precedes a value. A value where none may stand is the caller's mistake and fails the document. */
static void begin_value(struct json_writer *w)
{
    if (w->in_string || (w->depth == 0 && w->has_root) || (inside_object(w) && !w->after_key)) {
        w->failed = true;
        return;
    }
    if (w->depth > 0 && !w->after_key)
        put_comma(w);
    w->has_root = true;
    w->after_key = false;
}

static void begin_container(struct json_writer *w, bool is_object)
{
    begin_value(w);
    if (w->failed || w->depth == JSON_DEPTH_CEILING) {
        w->failed = true;
        return;
    }
    set_bit(w->is_object, w->depth, is_object);
    set_bit(w->has_items, w->depth, false);
    w->depth++;
    put(w, is_object ? "{" : "[", 1);
}

static void end_container(struct json_writer *w, bool is_object)
{
    if (w->failed || w->in_string || w->depth == 0 || w->after_key || inside_object(w) != is_object) {
        w->failed = true;
        return;
    }
    w->depth--;
    put(w, is_object ? "}" : "]", 1);
}

void json_object_begin(struct json_writer *w)
{
    begin_container(w, true);
}

void json_object_end(struct json_writer *w)
{
    end_container(w, true);
}

void json_array_begin(struct json_writer *w)
{
    begin_container(w, false);
}

void json_array_end(struct json_writer *w)
{
    end_container(w, false);
}

int json_writer_finish(struct json_writer *w)
{
    return w->failed || !w->has_root || w->depth > 0 || w->in_string ? -1 : 0;
}

/* --- strings --- */

static int put_escape(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[0x20] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };
    char text[6] = { '\\', 'u', '0', '0', digits[c >> 4 & 15], digits[c & 15] };

    if (c >= 0x20)
        text[1] = (char)c; /* a quote or backslash */
    else if (letters[c])
        text[1] = letters[c];
    else
        return buf_append(out, text, 6);
    return buf_append(out, text, 2);
}

static void put_text(struct json_writer *w, struct str s)
{
    if (!w->failed && utf8_pass(&w->text, w->out, s, UTF8_STOP_JSON, put_escape) < 0)
        w->failed = true;
}

static void put_string(struct json_writer *w, struct str s)
{
    /* Escaping and replacing never shorten, so this much is needed in any case and the buffer grows only once. */
    if (w->failed || s.n > SIZE_MAX - 2 || !buf_reserve(w->out, s.n + 2)) {
        w->failed = true;
        return;
    }
    put(w, "\"", 1);
    put_text(w, s);
    if (utf8_stream_end(&w->text, w->out) < 0)
        w->failed = true;
    put(w, "\"", 1);
}

void json_key_str(struct json_writer *w, struct str key)
{
    if (w->in_string || w->after_key || !inside_object(w)) {
        w->failed = true;
        return;
    }
    put_comma(w);
    put_string(w, key);
    put(w, ":", 1);
    w->after_key = true;
}

void json_key(struct json_writer *w, const char *key)
{
    json_key_str(w, str_from(key));
}

void json_string(struct json_writer *w, struct str s)
{
    begin_value(w);
    put_string(w, s);
}

void json_cstring(struct json_writer *w, const char *s)
{
    if (s)
        json_string(w, str_from(s));
    else
        json_null(w);
}

void json_string_begin(struct json_writer *w)
{
    begin_value(w);
    put(w, "\"", 1);
    w->in_string = true;
}

void json_string_part(struct json_writer *w, struct str part)
{
    if (w->in_string)
        put_text(w, part);
    else
        w->failed = true;
}

void json_string_end(struct json_writer *w)
{
    if (!w->in_string || (!w->failed && utf8_stream_end(&w->text, w->out) < 0))
        w->failed = true;
    put(w, "\"", 1);
    w->in_string = false;
}

/* --- other scalars --- */

static void put_scalar(struct json_writer *w, const char *text, int n)
{
    begin_value(w);
    put(w, text, (size_t)n);
}

void json_int(struct json_writer *w, int64_t v)
{
    char text[24];

    put_scalar(w, text, snprintf(text, sizeof(text), "%lld", (long long)v));
}

void json_uint(struct json_writer *w, uint64_t v)
{
    char text[24];

    put_scalar(w, text, snprintf(text, sizeof(text), "%llu", (unsigned long long)v));
}

void json_double(struct json_writer *w, double v)
{
    /* 15 digits always survive and %g drops zeros at the end; only a subnormal may be told by fewer digits. */
    int precision = fpclassify(v) == FP_SUBNORMAL ? 1 : 15;
    char text[32];
    int n;

    if (!isfinite(v)) {
        json_null(w);
        return;
    }
    do {
        n = snprintf(text, sizeof(text), "%.*g", precision, v);
    } while (strtod(text, NULL) != v && ++precision <= 17);
    put_scalar(w, text, n);
}

void json_bool(struct json_writer *w, bool v)
{
    put_scalar(w, v ? "true" : "false", v ? 4 : 5);
}

void json_null(struct json_writer *w)
{
    put_scalar(w, "null", 4);
}

/* --- whole values --- */

/* Recursion ends at JSON_DEPTH_CEILING, where opening another container fails the writer. */
static void put_array(struct json_writer *w, const struct json *v)
{
    json_array_begin(w);
    for (size_t i = 0; i < v->array.count && !w->failed; i++)
        json_value(w, &v->array.items[i]);
    json_array_end(w);
}

static void put_object(struct json_writer *w, const struct json *v)
{
    json_object_begin(w);
    for (size_t i = 0; i < v->object.count && !w->failed; i++) {
        json_key_str(w, v->object.members[i].key);
        json_value(w, &v->object.members[i].value);
    }
    json_object_end(w);
}

void json_value(struct json_writer *w, const struct json *v)
{
    switch (v->type) {
    case JSON_NULL:
        json_null(w);
        break;
    case JSON_BOOL:
        json_bool(w, v->boolean);
        break;
    case JSON_INT:
        json_int(w, v->integer);
        break;
    case JSON_DOUBLE:
        json_double(w, v->number);
        break;
    case JSON_STRING:
        json_string(w, v->string);
        break;
    case JSON_ARRAY:
        put_array(w, v);
        break;
    case JSON_OBJECT:
        put_object(w, v);
        break;
    }
}

void json_pair_string(struct json_writer *w, const char *key, struct str value)
{
    json_key(w, key);
    json_string(w, value);
}

void json_pair_cstring(struct json_writer *w, const char *key, const char *value)
{
    json_key(w, key);
    json_cstring(w, value);
}

void json_pair_int(struct json_writer *w, const char *key, int64_t value)
{
    json_key(w, key);
    json_int(w, value);
}

void json_pair_bool(struct json_writer *w, const char *key, bool value)
{
    json_key(w, key);
    json_bool(w, value);
}

void json_pair_empty_array(struct json_writer *w, const char *key)
{
    json_key(w, key);
    json_array_begin(w);
    json_array_end(w);
}

void json_pair_empty_object(struct json_writer *w, const char *key)
{
    json_key(w, key);
    json_object_begin(w);
    json_object_end(w);
}
