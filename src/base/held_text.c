#include "held_text.h"

struct held_text *held_text_new(struct buf *taken)
{
    struct held_text *text = malloc(sizeof(*text));

    if (!text)
        return NULL;
    *text = (struct held_text){ .refs = 1, .bytes = *taken };
    buf_init(taken, taken->max);
    return text;
}

struct held_text *held_text_ref(struct held_text *text)
{
    text->refs++;
    return text;
}

void held_text_unref(struct held_text *text)
{
    if (!text || --text->refs > 0)
        return;
    buf_free(&text->bytes);
    free(text);
}
