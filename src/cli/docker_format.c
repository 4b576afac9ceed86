/* docker_format.c - --format of the docker verb: the part of Go's templates that its users write. */
#include "cli/docker.h"

#define DEPTH_MAX 16

struct format {
    struct buf *out;
    struct berm_error *err;
};

static int fail(const struct format *f, const char *message, struct str at)
{
    return berm_fail(f->err, BERM_E_INVALID_REQUEST, 0, "template: %s: \"%.*s\"", message,
                     (int)MIN(at.n, (size_t)64), at.p);
}

static bool is_nothing(const struct json *value)
{
    return !value || value->type == JSON_NULL;
}

static int write_json(const struct format *f, const struct json *value)
{
    struct json_writer w;

    json_writer_init(&w, f->out);
    if (value)
        json_value(&w, value);
    else
        json_null(&w);
    return json_writer_finish(&w);
}

/* As Go prints it: strings bare, nil as "<no value>", others as near as JSON comes. */
static int write_value(const struct format *f, const struct json *value)
{
    if (is_nothing(value))
        return buf_append_str(f->out, STR("<no value>"));
    return value->type == JSON_STRING ? buf_append_str(f->out, value->string) : write_json(f, value);
}

static int write_length(const struct format *f, const struct json *value)
{
    size_t n = 0;

    if (value && value->type == JSON_ARRAY)
        n = value->array.count;
    else if (value && value->type == JSON_OBJECT)
        n = value->object.count;
    else if (value && value->type == JSON_STRING)
        n = value->string.n;
    return buf_printf(f->out, "%zu", n);
}

/* ".A.B" or "." */
static int look_up(const struct format *f, struct str path, const struct json *value, const struct json **ret)
{
    char name[128];

    if (path.n == 0 || path.p[0] != '.')
        return fail(f, "unknown function or operand", path);
    while (path.n > 1) {
        size_t n = 1;

        while (n < path.n && path.p[n] != '.')
            n++;
        if (n == 1 || str_copy((struct str){ path.p + 1, n - 1 }, name, sizeof(name)) < 0)
            return fail(f, "not a field", path);
        value = json_get(value, name);
        path = (struct str){ path.p + n, path.n - n };
    }
    *ret = value;
    return 0;
}

static struct str take_word(struct str *s)
{
    struct str word;
    size_t n = 0;

    *s = str_trim(*s);
    while (n < s->n && s->p[n] != ' ' && s->p[n] != '\t')
        n++;
    word = (struct str){ s->p, n };
    *s = (struct str){ s->p + n, s->n - n };
    return word;
}

static int write_action(const struct format *f, struct str action, const struct json *value)
{
    struct str rest = action, word = take_word(&rest);
    bool json = str_is(word, "json"), length = str_is(word, "len");
    const struct json *operand;

    if (json || length)
        word = take_word(&rest);
    if (str_trim(rest).n > 0)
        return fail(f, "more than is understood here", action);
    if (look_up(f, word, value, &operand) < 0)
        return -1;
    if (json)
        return write_json(f, operand);
    return length ? write_length(f, operand) : write_value(f, operand);
}

/* Text outside of actions: \t and \n are what they mean, as Docker's CLI has it. */
static int write_text(const struct format *f, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '\\' && i + 1 < text.n && (text.p[i + 1] == 't' || text.p[i + 1] == 'n'))
            c = text.p[++i] == 't' ? '\t' : '\n';
        if (buf_append(f->out, &c, 1) < 0)
            return -1;
    }
    return 0;
}

static int render(const struct format *f, struct str *text, const struct json *value, bool silent, unsigned depth);

static int render_range(const struct format *f, struct str *text, struct str path, const struct json *value,
                        bool silent, unsigned depth)
{
    const struct json *list = NULL;
    struct str body = *text;
    size_t count = 0;

    if (look_up(f, take_word(&path), value, &list) < 0)
        return -1;
    if (list && list->type == JSON_ARRAY)
        count = list->array.count;
    else if (list && list->type == JSON_OBJECT)
        count = list->object.count;
    for (size_t i = 0; !silent && i < count; i++) {
        struct str again = body;
        const struct json *item = list->type == JSON_ARRAY ? &list->array.items[i] : &list->object.members[i].value;

        if (render(f, &again, item, false, depth + 1) < 0)
            return -1;
    }
    return render(f, text, NULL, true, depth + 1); /* to the end of the block */
}

/* Until the text's end, or in a block (`depth`) until its {{end}}, which it takes. `silent`: only finds that. */
static int render(const struct format *f, struct str *text, const struct json *value, bool silent, unsigned depth)
{
    if (depth > DEPTH_MAX)
        return fail(f, "blocks too deep", *text);
    while (text->n > 0) {
        const char *open = memmem(text->p, text->n, "{{", 2), *close;
        size_t before = open ? (size_t)(open - text->p) : text->n;
        struct str action, word, rest;

        if (!silent && write_text(f, (struct str){ text->p, before }) < 0)
            return -1;
        *text = (struct str){ text->p + before, text->n - before };
        if (!open)
            break;
        close = memmem(text->p, text->n, "}}", 2);
        if (!close)
            return fail(f, "an action without end", *text);
        action = str_trim((struct str){ text->p + 2, (size_t)(close - text->p) - 2 });
        *text = (struct str){ close + 2, text->n - (size_t)(close + 2 - text->p) };
        rest = action;
        word = take_word(&rest);
        if (str_is(word, "end"))
            return depth > 0 ? 0 : fail(f, "an end without a beginning", action);
        if (str_is(word, "range") ? render_range(f, text, rest, value, silent, depth) < 0
                                  : !silent && write_action(f, action, value) < 0)
            return -1;
    }
    return depth == 0 ? 0 : fail(f, "a block without end", *text);
}

int docker_format(struct buf *out, const char *format, const struct json *value, struct berm_error *err)
{
    struct format f = { out, err };
    struct str text = str_from(format);

    if (!strcmp(format, "json"))
        return write_json(&f, value);
    return render(&f, &text, value, false, 0);
}
