/* What a cloudflared prints, in pieces of any size: only a name of its form ever comes out of it. */
#include "base/cloudflared.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cloudflared_output output;
    size_t room;

    memset(&output, 0, sizeof(output));
    output.quick = true;
    while (size > 1) {
        int stream = data[0] & 1;
        size_t n = MIN((size_t)(data[0] >> 1) * 16 + 1, size - 1);
        char *at = cloudflared_output_room(&output, stream, &room);

        if (room == 0)
            abort();
        n = MIN(n, room);
        memcpy(at, data + 1, n);
        cloudflared_output_take(&output, stream, n);
        data += n + 1;
        size -= n + 1;
    }
    if (output.url[0] && !cloudflared_label_valid(cloudflared_label(output.url)))
        abort();
    return 0;
}
