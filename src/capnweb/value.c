/* value.c - looking into values, and making the ones that need more than an initializer. */
#include "base/base64.h"
#include "internal.h"

#include <time.h>

void capnweb_target_ref(struct capnweb_target *target)
{
    if (target)
        target->refs++;
}

void capnweb_target_unref(struct capnweb_target *target)
{
    if (target && --target->refs == 0 && target->ops->dispose)
        target->ops->dispose(target);
}

const struct capnweb_value *capnweb_get(const struct capnweb_value *object, const char *key)
{
    struct str wanted = str_from(key);

    if (!object || object->type != CAPNWEB_OBJECT)
        return NULL;
    for (size_t i = 0; i < object->object.count; i++) {
        const struct capnweb_member *member = &object->object.members[i];
        if (str_eq(member->key, wanted))
            return member->value.type == CAPNWEB_UNDEFINED ? NULL : &member->value;
    }
    return NULL;
}

struct capnweb_value capnweb_error(struct arena *arena, const char *name, struct str message, struct str code,
                                   struct capnweb_value details)
{
    struct capnweb_error_value *error = arena_calloc(arena, 1, sizeof(*error));
    struct capnweb_member *props = arena_calloc(arena, 2, sizeof(*props));
    size_t count = 0;

    if (!error || !props)
        return CAPNWEB_NOTHING;
    error->name = str_from(name);
    error->message = message;
    if (code.n > 0)
        props[count++] = (struct capnweb_member){ STR("code"), CAPNWEB_TEXT(code) };
    if (details.type != CAPNWEB_UNDEFINED)
        props[count++] = (struct capnweb_member){ STR("details"), details };
    if (count > 0)
        error->props = (struct capnweb_value){ .type = CAPNWEB_OBJECT, .object = { props, count } };
    return (struct capnweb_value){ .type = CAPNWEB_ERROR, .error = error };
}

/* --- copies; without memory a part is undefined --- */

static struct str copy_text(struct arena *arena, struct str text)
{
    char *copy = text.p ? arena_strdup(arena, text) : NULL;

    return copy ? (struct str){ copy, text.n } : (struct str){ NULL, 0 };
}

static void copy_array(struct arena *arena, const struct capnweb_value *value, struct capnweb_value *ret)
{
    struct capnweb_value *items = arena_calloc(arena, value->array.count + 1, sizeof(*items));

    if (!items)
        return;
    for (size_t i = 0; i < value->array.count; i++)
        items[i] = capnweb_copy(arena, &value->array.items[i]);
    *ret = (struct capnweb_value){ .type = CAPNWEB_ARRAY, .array = { items, value->array.count } };
}

static void copy_object(struct arena *arena, const struct capnweb_value *value, struct capnweb_value *ret)
{
    struct capnweb_member *members = arena_calloc(arena, value->object.count + 1, sizeof(*members));

    if (!members)
        return;
    for (size_t i = 0; i < value->object.count; i++) {
        members[i].key = copy_text(arena, value->object.members[i].key);
        members[i].value = capnweb_copy(arena, &value->object.members[i].value);
    }
    *ret = (struct capnweb_value){ .type = CAPNWEB_OBJECT, .object = { members, value->object.count } };
}

static void copy_error(struct arena *arena, const struct capnweb_value *value, struct capnweb_value *ret)
{
    struct capnweb_error_value *error = arena_calloc(arena, 1, sizeof(*error));

    if (!error)
        return;
    error->name = copy_text(arena, value->error->name);
    error->message = copy_text(arena, value->error->message);
    error->stack = copy_text(arena, value->error->stack);
    error->props = capnweb_copy(arena, &value->error->props);
    *ret = (struct capnweb_value){ .type = CAPNWEB_ERROR, .error = error };
}

struct capnweb_value capnweb_copy(struct arena *arena, const struct capnweb_value *value)
{
    struct capnweb_value copy = CAPNWEB_NOTHING;

    switch (value->type) {
    case CAPNWEB_STRING:
    case CAPNWEB_BYTES:
    case CAPNWEB_BIGINT:
        copy.string = copy_text(arena, value->string);
        if (copy.string.p || value->string.n == 0)
            copy.type = value->type;
        break;
    case CAPNWEB_ARRAY:
        copy_array(arena, value, &copy);
        break;
    case CAPNWEB_OBJECT:
        copy_object(arena, value, &copy);
        break;
    case CAPNWEB_ERROR:
        copy_error(arena, value, &copy);
        break;
    case CAPNWEB_HEADERS:
    case CAPNWEB_REQUEST:
    case CAPNWEB_RESPONSE:
    case CAPNWEB_BLOB:
    case CAPNWEB_JSON:
        break;
    default:
        copy = *value;
    }
    return copy;
}

/* --- paths --- */

static struct str key_text(const struct capnweb_key *key, char *number, size_t size)
{
    if (!key->is_index)
        return key->name;
    snprintf(number, size, "%lld", (long long)key->index);
    return str_from(number);
}

/* The JavaScript side sends what is between brackets as a string. -1: no index below `count`. */
static int64_t key_index(const struct capnweb_key *key, size_t count)
{
    uint64_t index;

    if (key->is_index)
        return key->index >= 0 && (uint64_t)key->index < count ? key->index : -1;
    return str_to_u64(key->name, &index) == 0 && index < count ? (int64_t)index : -1;
}

static struct capnweb_value step_into_json(const struct json *json, const struct capnweb_key *key)
{
    char number[24];
    struct str name = key_text(key, number, sizeof(number));

    if (json->type == JSON_ARRAY) {
        int64_t index = key_index(key, json->array.count);
        return index >= 0 ? CAPNWEB_THE_JSON(&json->array.items[index]) : CAPNWEB_NOTHING;
    }
    if (json->type == JSON_OBJECT)
        for (size_t i = 0; i < json->object.count; i++)
            if (str_eq(json->object.members[i].key, name))
                return CAPNWEB_THE_JSON(&json->object.members[i].value);
    return CAPNWEB_NOTHING;
}

static struct capnweb_value step(const struct capnweb_value *value, const struct capnweb_key *key)
{
    char number[24];
    struct str name = key_text(key, number, sizeof(number));

    if (value->type == CAPNWEB_JSON)
        return step_into_json(value->json, key);
    if (value->type == CAPNWEB_ARRAY) {
        int64_t index = key_index(key, value->array.count);
        return index >= 0 ? value->array.items[index] : CAPNWEB_NOTHING;
    }
    if (value->type == CAPNWEB_OBJECT)
        for (size_t i = 0; i < value->object.count; i++)
            if (str_eq(value->object.members[i].key, name))
                return value->object.members[i].value;
    return CAPNWEB_NOTHING;
}

int cw_follow(const struct capnweb_value *value, struct cw_path *path, struct cw_ref *ret,
              struct capnweb_value *ret_value)
{
    struct capnweb_value at = *value;

    for (;;) {
        *ret_value = at;
        if (cw_value_ref(&at, ret))
            return 1;
        if (path->count == 0)
            return 0;
        if (at.type == CAPNWEB_UNDEFINED || at.type == CAPNWEB_NULL)
            return -1;
        at = step(&at, path->keys);
        path->keys++;
        path->count--;
    }
}

/* --- as plain JSON --- */

static void write_date(struct json_writer *w, double ms)
{
    int64_t whole;
    int rest;
    time_t seconds;
    struct tm tm;
    char text[96];

    /* The range of a Date; years of four digits are all that the plain form has. */
    if (!(ms >= -62167219200000.0 && ms < 253402300800000.0)) {
        json_null(w);
        return;
    }
    whole = (int64_t)ms;
    rest = (int)((whole % 1000 + 1000) % 1000); /* before 1970 as well */
    seconds = (time_t)((whole - rest) / 1000);
    if (!gmtime_r(&seconds, &tm)) {
        json_null(w);
        return;
    }
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, rest);
    json_cstring(w, text);
}

static void write_bytes(struct json_writer *w, struct str bytes)
{
    json_string_begin(w);
    if (!w->failed && base64_append(w->out, bytes.p, bytes.n) < 0)
        w->failed = true;
    json_string_end(w);
}

/* Those that fit, exactly; the others as near as a double comes. */
static void write_bigint(struct json_writer *w, struct str digits)
{
    char text[400];
    char *end;
    long long integer;

    if (str_copy(digits, text, sizeof(text)) < 0) {
        json_null(w);
        return;
    }
    errno = 0;
    integer = strtoll(text, &end, 10);
    if (errno == 0 && *end == '\0')
        json_int(w, integer);
    else
        json_double(w, strtod(text, NULL));
}

static void write_object(struct json_writer *w, const struct capnweb_value *value)
{
    json_object_begin(w);
    for (size_t i = 0; i < value->object.count && !w->failed; i++) {
        const struct capnweb_member *member = &value->object.members[i];
        if (member->value.type == CAPNWEB_UNDEFINED)
            continue;
        json_key_str(w, member->key);
        capnweb_write_json(w, &member->value);
    }
    json_object_end(w);
}

static void write_array(struct json_writer *w, const struct capnweb_value *value)
{
    json_array_begin(w);
    for (size_t i = 0; i < value->array.count && !w->failed; i++)
        capnweb_write_json(w, &value->array.items[i]);
    json_array_end(w);
}

/* Values are at most limits.max_depth deep, and the writer refuses what is deeper than it can be. */
void capnweb_write_json(struct json_writer *w, const struct capnweb_value *value)
{
    switch (value->type) {
    case CAPNWEB_BOOL:
        json_bool(w, value->boolean);
        break;
    case CAPNWEB_INT:
        json_int(w, value->integer);
        break;
    case CAPNWEB_DOUBLE:
        json_double(w, value->number);
        break;
    case CAPNWEB_STRING:
        json_string(w, value->string);
        break;
    case CAPNWEB_BYTES:
        write_bytes(w, value->string);
        break;
    case CAPNWEB_BIGINT:
        write_bigint(w, value->string);
        break;
    case CAPNWEB_DATE:
        write_date(w, value->number);
        break;
    case CAPNWEB_ARRAY:
        write_array(w, value);
        break;
    case CAPNWEB_OBJECT:
        write_object(w, value);
        break;
    case CAPNWEB_HEADERS:
    case CAPNWEB_JSON:
        json_value(w, value->json);
        break;
    default:
        json_null(w);
    }
}
