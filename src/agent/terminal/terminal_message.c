#include "terminal_message.h"

#include "base/json.h"

#define MESSAGE_MAX ((size_t)4096)
#define DEPTH_MAX   8

/* Fractions are cut off. */
static bool number_of(const struct json *value, double *ret)
{
    if (value && value->type == JSON_INT)
        *ret = (double)value->integer;
    else if (value && value->type == JSON_DOUBLE)
        *ret = value->number;
    else
        return false;
    return true;
}

static enum terminal_message read_resize(const struct json *message, struct terminal_size *ret)
{
    double cols, rows;

    if (!number_of(json_get(message, "cols"), &cols) || !number_of(json_get(message, "rows"), &rows))
        return TERMINAL_MESSAGE_INVALID;
    if (!(cols >= 1 && cols <= UINT16_MAX && rows >= 1 && rows <= UINT16_MAX))
        return TERMINAL_MESSAGE_BAD_SIZE;
    *ret = (struct terminal_size){ (uint16_t)cols, (uint16_t)rows };
    return TERMINAL_MESSAGE_RESIZE;
}

enum terminal_message terminal_message_read(struct str text, struct terminal_size *ret)
{
    enum terminal_message result = TERMINAL_MESSAGE_INVALID;
    const struct json *message = NULL, *type;
    struct arena arena;

    arena_init(&arena, 64 * MESSAGE_MAX);
    if (text.n <= MESSAGE_MAX && json_parse(&arena, text, DEPTH_MAX, &message, NULL) == 0 &&
        message->type != JSON_NULL) {
        type = json_get(message, "type");
        if (type && type->type == JSON_STRING && str_is(type->string, "resize"))
            result = read_resize(message, ret);
        else
            result = TERMINAL_MESSAGE_IGNORED;
    }
    arena_free(&arena);
    return result;
}
