/*
 * json.h - strict JSON (RFC 8259) for all programs: a parser into an arena and a streaming writer onto a buffer.
 *
 * The parser takes exactly one value with white space around it. It refuses what lenient parsers let through and
 * what two parsers read differently: invalid UTF-8 (overlongs and surrogates too), lone \u surrogates, duplicate
 * keys in one object, control characters in strings, numbers with leading zeros, NaN, trailing commas, nesting past
 * `max_depth`, anything after the value. Whole numbers that fit in 64 bits stay exact.
 * The differential test holds it against Node's JSON.parse: whatever we accept, Node reads the same way.
 */
#pragma once

#include "arena.h"
#include "buf.h"
#include "error.h"
#include "utf8.h"

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,    /* a whole number without fraction or exponent, in the range of int64_t */
    JSON_DOUBLE, /* every other number, -0 too; what no finite double is near to is refused */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_member;

struct json {
    enum json_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct str string; /* decoded UTF-8 in the arena; may hold NUL bytes (\u0000); NUL-terminated as well */
        struct {
            struct json *items;
            size_t count;
        } array;
        struct {
            struct json_member *members; /* in the order of the text */
            size_t count;
        } object;
    };
};

struct json_member {
    struct str key;
    struct json value;
};

/* Of documents; and what is possible, for protocols whose values nest to 64 and take more than one level each. */
#define JSON_MAX_DEPTH     128
#define JSON_DEPTH_CEILING 160

/*
 * Parses `text` into `arena`. Strings without escapes are copied too: the result does not borrow `text`.
 * Returns 0 and *ret, or -1 with INVALID_REQUEST and a message that names the byte offset.
 * The arena needs at most the size of the text for all strings together, sizeof(struct json) for each element and
 * sizeof(struct json_member) for each member. A scalar has depth 0; `max_depth` above JSON_DEPTH_CEILING counts
 * as that.
 */
int json_parse(struct arena *arena, struct str text, unsigned max_depth, const struct json **ret,
               struct berm_error *err);
/* The same, but a lone \u surrogate reads as U+FFFD: for peers whose strings are UTF-16, ill-formed ones included.
 */
int json_parse_utf16(struct arena *arena, struct str text, unsigned max_depth, const struct json **ret,
                     struct berm_error *err);

/* The member of an object, or NULL; NULL as well when `object` is NULL or not an object. */
const struct json *json_get(const struct json *object, const char *key);

/*
 * Typed fields for request decoding. Each returns 0 and leaves *ret alone when the member is absent (or null), 0
 * and sets it when it has the type, and -1 with a field error (INVALID_REQUEST, field = key) when it has another
 * type. json_field_cstring refuses NUL bytes; the string lives as long as the arena.
 */
int json_field_cstring(const struct json *object, const char *key, const char **ret, struct berm_error *err);
int json_field_string(const struct json *object, const char *key, struct str *ret, struct berm_error *err);
int json_field_int(const struct json *object, const char *key, int64_t min, int64_t max, int64_t *ret,
                   struct berm_error *err);
int json_field_bool(const struct json *object, const char *key, bool *ret, struct berm_error *err);
int json_field_object(const struct json *object, const char *key, const struct json **ret, struct berm_error *err);
int json_field_array(const struct json *object, const char *key, const struct json **ret, struct berm_error *err);

/*
 * The writer. It places commas itself; a failure (buffer limit or memory) sticks and is told by
 * json_writer_finish(). Strings are escaped per RFC 8259; bytes that are not UTF-8 become U+FFFD, one per maximal
 * ill-formed part as WHATWG decoders do. '<', '>' and DEL stay as they are, control characters become \u00XX or the
 * short forms.
 */
struct json_writer {
    struct buf *out;
    bool failed;
    bool has_root; /* the one value of the document has begun */
    bool after_key;
    bool in_string;
    unsigned depth;
    uint64_t has_items[(JSON_DEPTH_CEILING + 63) / 64]; /* a bit per open container */
    uint64_t is_object[(JSON_DEPTH_CEILING + 63) / 64];
    struct utf8_stream text; /* of the string that is being given in pieces */
};

void json_writer_init(struct json_writer *w, struct buf *out);
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);
void json_key_str(struct json_writer *w, struct str key);
void json_string(struct json_writer *w, struct str s);
void json_cstring(struct json_writer *w, const char *s); /* NULL writes null */
void json_int(struct json_writer *w, int64_t v);
void json_uint(struct json_writer *w, uint64_t v);
/* The shortest text that reads back equal, so a whole number has no fraction; NaN and infinities become null. */
void json_double(struct json_writer *w, double v);
void json_bool(struct json_writer *w, bool v);
void json_null(struct json_writer *w);
/* A value parsed before. */
void json_value(struct json_writer *w, const struct json *v);
/* A string given in pieces (big contents): begin, any number of parts (UTF-8 may be split between them), end. */
void json_string_begin(struct json_writer *w);
void json_string_part(struct json_writer *w, struct str part);
void json_string_end(struct json_writer *w);
/* 0, or -1 when anything did not fit, or when what was called does not make exactly one value. */
int json_writer_finish(struct json_writer *w);

/* Shorthands for `"key": value` in an object. */
void json_pair_string(struct json_writer *w, const char *key, struct str value);
void json_pair_cstring(struct json_writer *w, const char *key, const char *value);
void json_pair_int(struct json_writer *w, const char *key, int64_t value);
void json_pair_bool(struct json_writer *w, const char *key, bool value);
void json_pair_empty_array(struct json_writer *w, const char *key);
void json_pair_empty_object(struct json_writer *w, const char *key);
