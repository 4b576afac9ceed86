#include "head_writer.h"

void head_writer_free(struct head_writer *w)
{
    if (w->data != w->room)
        free(w->data);
    head_writer_init(w);
}

void head_add_slowly(struct head_writer *w, struct str s)
{
    bool fits = w->len <= HEAD_WRITER_MAX && s.n <= HEAD_WRITER_MAX - w->len;
    char *data = fits ? malloc(HEAD_WRITER_MAX) : NULL;

    if (!fits)
        errno = ENOBUFS;
    if (!data) {
        w->failed = true;
        return;
    }
    memcpy(data, w->data, w->len);
    memcpy(data + w->len, s.p, s.n);
    w->len += s.n;
    w->data = data;
    w->cap = HEAD_WRITER_MAX;
}

void head_add_number(struct head_writer *w, uint64_t value)
{
    char room[U64_TEXT];

    head_add(w, u64_text(value, room));
}

void head_add_field(struct head_writer *w, struct str name, struct str value)
{
    head_add(w, name);
    head_add(w, STR(": "));
    head_add(w, value);
    head_add(w, STR("\r\n"));
}
