#include "recycle.h"

#include "sanitized.h"

/* What is kept begins with a pointer to the next one. */
void *recycled_take(struct recycled *recycled, size_t size)
{
    void **object = recycled->first;

    if (!object)
        return malloc(size);
    recycled->first = *object;
    recycled->count--;
    return object;
}

void recycled_give(struct recycled *recycled, void *object, unsigned most)
{
    void **link = object;

    /* An object that is kept looks freed to nobody: the sanitizer would not see a use after its end. */
    if (SANITIZED || !object || recycled->count >= most) {
        free(object);
        return;
    }
    *link = recycled->first;
    recycled->first = link;
    recycled->count++;
}

void recycled_free(struct recycled *recycled)
{
    while (recycled->first)
        free(recycled_take(recycled, 0));
}
