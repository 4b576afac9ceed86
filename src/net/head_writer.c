#include "head_writer.h"

void head_writer_init(struct head_writer *w)
{
    buf_init(&w->out, HEAD_WRITER_MAX);
    w->failed = false;
}

void head_writer_free(struct head_writer *w)
{
    buf_free(&w->out);
}

void head_add_slowly(struct head_writer *w, struct str s)
{
    if (buf_append_str(&w->out, s) < 0)
        w->failed = true;
}

void head_add_number(struct head_writer *w, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    head_add(w, (struct str){ digits + at, sizeof(digits) - at });
}

void head_add_field(struct head_writer *w, const char *name, struct str value)
{
    head_add(w, str_from(name));
    head_add(w, STR(": "));
    head_add(w, value);
    head_add(w, STR("\r\n"));
}
