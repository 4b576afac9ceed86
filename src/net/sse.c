#include "sse.h"

#include "base/base64.h"

static int append_start(struct buf *out, const char *event)
{
    if (event && buf_printf(out, "event: %s\n", event) < 0)
        return -1;
    return buf_append_str(out, STR("data: "));
}

/* Half an event would join with whatever is written next, so a failure takes the beginning back. */
static int finish(struct buf *out, size_t before, int rc)
{
    if (rc == 0 && buf_append_str(out, STR("\n\n")) == 0)
        return 0;
    out->len = before;
    return -1;
}

int sse_append(struct buf *out, const char *event, struct str data)
{
    size_t before = out->len;
    int rc;

    if (data.n > 0 && (memchr(data.p, '\n', data.n) || memchr(data.p, '\r', data.n)))
        return -1;
    rc = append_start(out, event);
    if (rc == 0)
        rc = buf_append_str(out, data);
    return finish(out, before, rc);
}

int sse_append_base64(struct buf *out, const char *event, const void *p, size_t n)
{
    size_t before = out->len;
    int rc = append_start(out, event);

    if (rc == 0)
        rc = base64_append(out, p, n);
    return finish(out, before, rc);
}
