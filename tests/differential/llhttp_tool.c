/*
 * llhttp_tool.c - how the llhttp that Debian packages (node-llhttp) frames bytes; see h1_tool_io.h. h1.test.mjs
 * compiles it together with that package's sources.
 */
#include <llhttp/llhttp.h>
#include <stdbool.h>
#include <string.h>

#include "h1_tool_io.h"

#define FIELDS 2000

struct text {
    char *p;
    size_t n;
};

static struct text target, names[FIELDS], values[FIELDS];
static size_t fields;
static bool in_value;
static char kind_of_case;

static int add(struct text *t, const char *p, size_t n)
{
    t->p = realloc(t->p, t->n + n + 1);
    memcpy(t->p + t->n, p, n);
    t->n += n;
    return 0;
}

static int on_begin(llhttp_t *parser)
{
    (void)parser;
    target.n = 0;
    fields = 0;
    in_value = true;
    return 0;
}

static int on_url(llhttp_t *parser, const char *p, size_t n)
{
    (void)parser;
    return add(&target, p, n);
}

static int on_field(llhttp_t *parser, const char *p, size_t n)
{
    (void)parser;
    if (in_value) {
        if (fields == FIELDS)
            return -1;
        names[fields].n = values[fields].n = 0;
        fields++;
        in_value = false;
    }
    return add(&names[fields - 1], p, n);
}

static int on_value(llhttp_t *parser, const char *p, size_t n)
{
    (void)parser;
    in_value = true;
    return add(&values[fields - 1], p, n);
}

/* An empty value has no bytes, and an empty name none either: the ends tell the fields apart. */
static int on_field_complete(llhttp_t *parser)
{
    return on_field(parser, "", 0);
}

static int on_value_complete(llhttp_t *parser)
{
    (void)parser;
    in_value = true;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int on_headers(llhttp_t *parser)
{
    if (kind_of_case == 'q') {
        const char *method = llhttp_method_name(llhttp_get_method(parser));
        print_pair("m", method, strlen(method), target.p, target.n);
    } else {
        printf("s %d\n", llhttp_get_status_code(parser));
    }
    for (size_t i = 0; i < fields; i++) {
        const char *p = values[i].p;
        size_t n = values[i].n;
        for (; n > 0 && is_blank(p[0]); n--)
            p++;
        while (n > 0 && is_blank(p[n - 1]))
            n--;
        print_pair("f", names[i].p, names[i].n, p, n);
    }
    return kind_of_case == 'h';
}

static int on_body(llhttp_t *parser, const char *p, size_t n)
{
    (void)parser;
    printf("b ");
    print_hex(p, n);
    putchar('\n');
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    (void)parser;
    printf("c\n");
    fields = 0; /* what follows are trailers, if anything */
    return 0;
}

static void run_case(char kind, const char *p, size_t n)
{
    llhttp_settings_t settings;
    llhttp_t parser;
    enum llhttp_errno rc;

    kind_of_case = kind;
    llhttp_settings_init(&settings);
    settings.on_message_begin = on_begin;
    settings.on_url = on_url;
    settings.on_header_field = on_field;
    settings.on_header_field_complete = on_field_complete;
    settings.on_header_value = on_value;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_headers;
    settings.on_body = on_body;
    settings.on_message_complete = on_complete;
    llhttp_init(&parser, kind == 'q' ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    rc = llhttp_execute(&parser, p, n);
    if (rc == HPE_OK && kind != 'q')
        llhttp_finish(&parser);
    if (rc == HPE_OK)
        printf("end more\n");
    else if (rc == HPE_PAUSED_UPGRADE)
        printf("end upgrade\n");
    else
        printf("end refused %s\n", llhttp_errno_name(rc));
}

int main(void)
{
    return run_cases();
}
