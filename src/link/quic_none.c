/* quic_none.c - stands in for QUIC until it is there: refuses, so that the race goes to HTTP/2 at once. */
#include "link/transport.h"

struct link *quic_dial(struct core *core, const struct link_target *target)
{
    (void)core, (void)target;
    errno = EPROTONOSUPPORT;
    return NULL;
}

struct quic_listener *quic_listen(struct core *core, int fd)
{
    (void)core;
    close_fd(&fd);
    errno = EPROTONOSUPPORT;
    return NULL;
}

void quic_listener_free(struct quic_listener *listener)
{
    (void)listener;
}
