/* output.c - tables for people and JSON for programs. */
#include "base/json.h"
#include "cli/clean.h"
#include "cli/cli.h"

/* Of a text that is cleaned: "\u009b" for one byte is the longest that comes of it. */
#define CLEAN_MAX(n) (6 * (n) + 1)

void print_clean(FILE *to, const char *format, va_list args)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_(buf_free) struct buf clean = { 0 };
    int n = vasprintf(&text, format, args);

    if (n < 0) {
        text = NULL;
        fputs("out of memory", to);
        return;
    }
    buf_init(&clean, CLEAN_MAX((size_t)n));
    if (clean_append(&clean, str_from(text), CLEAN_LINE) < 0)
        fputs("out of memory", to);
    else
        fwrite(buf_head(&clean), 1, clean.len, to);
}

int print_line(struct cli *cli, const char *text)
{
    _cleanup_(buf_free) struct buf clean;

    buf_init(&clean, CLEAN_MAX(strlen(text)));
    if (clean_append(&clean, str_from(text), CLEAN_LINE) < 0 || buf_append(&clean, "\n", 1) < 0)
        return cli_fail(cli, "out of memory");
    if (fwrite(buf_head(&clean), 1, clean.len, stdout) != clean.len || fflush(stdout) != 0)
        return cli_fail(cli, "writing the output: %s", strerror(errno));
    return STATUS_OK;
}

int print_rendered(struct str text)
{
    _cleanup_(buf_free) struct buf clean;

    buf_init(&clean, CLEAN_MAX(text.n));
    if (isatty(STDOUT_FILENO)) {
        if (clean_append(&clean, text, CLEAN_TEXT) < 0)
            return -1;
        text = buf_str(&clean);
    }
    return fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0 ? 0 : -1;
}

static char *clean_copy(struct arena *arena, const char *text)
{
    _cleanup_(buf_free) struct buf clean;

    buf_init(&clean, CLEAN_MAX(strlen(text)));
    return clean_append(&clean, str_from(text), CLEAN_LINE) < 0 ? NULL : arena_strdup(arena, buf_str(&clean));
}

void table_init(struct table *t, struct arena *arena, size_t columns, const char *const *header)
{
    *t = (struct table){ .arena = arena, .columns = columns };
    table_row(t, header);
}

void table_row(struct table *t, const char *const *cells)
{
    if (t->rows == t->room) {
        size_t room = t->room ? 2 * t->room : 32;
        const char **more = arena_calloc(t->arena, room * t->columns, sizeof(*more));
        if (!more) {
            t->failed = true;
            return;
        }
        if (t->rows > 0)
            memcpy(more, t->cells, t->rows * t->columns * sizeof(*more));
        t->cells = more;
        t->room = room;
    }
    for (size_t c = 0; c < t->columns; c++) {
        const char *clean = clean_copy(t->arena, cells[c] ? cells[c] : "-");

        if (!clean) {
            t->failed = true;
            return;
        }
        t->cells[t->rows * t->columns + c] = clean;
    }
    t->rows++;
}

/* Columns as the reader sees them: the continuation bytes of UTF-8 take no place. */
static size_t text_width(const char *s)
{
    size_t width = 0;

    for (; *s; s++)
        width += ((unsigned char)*s & 0xc0) != 0x80;
    return width;
}

int table_print(const struct table *t, FILE *to)
{
    if (t->failed) {
        errno = ENOMEM;
        return -1;
    }
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t c = 0; c < t->columns; c++) {
            const char *cell = t->cells[r * t->columns + c];
            size_t width = 0;

            fputs(cell, to);
            for (size_t i = 0; i < t->rows; i++)
                width = MAX(width, text_width(t->cells[i * t->columns + c]));
            if (c + 1 < t->columns)
                fprintf(to, "%*s", (int)(width - text_width(cell) + 2), "");
        }
        fputc('\n', to);
    }
    return fflush(to) == 0 ? 0 : -1;
}

/*
 * White space is all that is added: numbers and strings stay as they are, which only works on a document that is
 * known to be well-formed.
 */
static void reindent(const char *json, FILE *to)
{
    unsigned depth = 0;
    bool in_string = false;

    for (const char *p = json; *p; p++) {
        char open = 0;

        if (in_string) {
            fputc(*p, to);
            if (*p == '\\' && p[1])
                fputc(*++p, to);
            else if (*p == '"')
                in_string = false;
            continue;
        }
        if (strchr(" \t\r\n", *p))
            continue;
        if (*p == '{' || *p == '[')
            open = *p;
        if ((*p == '}' || *p == ']') && depth > 0)
            fprintf(to, "\n%*s", (int)(2 * --depth), "");
        fputc(*p, to);
        in_string = *p == '"';
        if (open) {
            const char *next = p + 1 + strspn(p + 1, " \t\r\n");
            if (*next == (open == '{' ? '}' : ']')) {
                fputc(*next, to);
                p = next;
            } else {
                fprintf(to, "\n%*s", (int)(2 * ++depth), "");
            }
        } else if (*p == ',') {
            fprintf(to, "\n%*s", (int)(2 * depth), "");
        } else if (*p == ':') {
            fputc(' ', to);
        }
    }
    fputc('\n', to);
}

int print_json(struct cli *cli, const char *json)
{
    _cleanup_(buf_free) struct buf clean;
    const struct json *document;
    struct berm_error err;

    buf_init(&clean, CLEAN_MAX(strlen(json)));
    if (json_parse(&cli->arena, str_from(json), JSON_MAX_DEPTH, &document, &err) < 0)
        return cli_fail(cli, "unexpected answer from the daemon: %s", err.message);
    if (clean_append(&clean, str_from(json), CLEAN_JSON) < 0 || buf_append(&clean, "", 1) < 0)
        return cli_fail(cli, "out of memory");
    reindent(buf_head(&clean), stdout);
    return fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the output: %s", strerror(errno));
}

int print_json_written(struct cli *cli, struct json_writer *w)
{
    char *text = json_writer_finish(w) == 0 ? buf_steal(w->out, NULL) : NULL;
    int status = text ? print_json(cli, text) : cli_fail(cli, "out of memory");

    free(text);
    buf_free(w->out);
    return status;
}

int print_json_pair(struct cli *cli, const char *name, const char *value)
{
    struct json_writer w;
    struct buf out;

    buf_init(&out, 64 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_pair_cstring(&w, name, value);
    json_object_end(&w);
    return print_json_written(cli, &w);
}

int print_json_count(struct cli *cli, const char *name, int64_t count)
{
    struct json_writer w;
    struct buf out;

    buf_init(&out, 64 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_pair_int(&w, name, count);
    json_object_end(&w);
    return print_json_written(cli, &w);
}

int print_json_list(struct cli *cli, const char *name, const struct cli_list *values)
{
    struct json_writer w;
    struct buf out;

    buf_init(&out, (size_t)16 << 20);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, name);
    json_array_begin(&w);
    for (size_t i = 0; i < values->count; i++)
        json_string(&w, str_from(values->items[i]));
    json_array_end(&w);
    json_object_end(&w);
    return print_json_written(cli, &w);
}
