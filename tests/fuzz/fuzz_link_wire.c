/* What bermd says to berm-link: nothing but its own messages is obeyed. */
#include "link/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link_message message = { 0 };
    bool opens, accepted;
    size_t fds;

    if (size < 2)
        return 0;
    opens = data[0] & 1;
    fds = data[1] & 1;
    memcpy(&message, data + 2, MIN(size - 2, sizeof(message)));
    accepted = wire_accepts(&message, size - 2, fds, opens);
    if (accepted && (size - 2 != sizeof(message) || message.version != LINK_WIRE_VERSION ||
                     (fds == 1) != (message.type == LINK_OPEN) || (message.type == LINK_OPEN && !opens)))
        abort();
    return 0;
}
