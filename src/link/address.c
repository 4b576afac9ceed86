/* address.c - the address of a link as text. */
#include "link/transport.h"

#include <arpa/inet.h>

void link_address_print(const struct link_address *address, char *out, size_t out_size)
{
    char text[INET6_ADDRSTRLEN];

    if (address->any.sa_family == AF_INET && inet_ntop(AF_INET, &address->v4.sin_addr, text, sizeof(text)))
        snprintf(out, out_size, "%s:%u", text, ntohs(address->v4.sin_port));
    else if (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr) &&
             inet_ntop(AF_INET, &address->v6.sin6_addr.s6_addr[12], text, sizeof(text)))
        snprintf(out, out_size, "%s:%u", text, ntohs(address->v6.sin6_port));
    else if (address->any.sa_family == AF_INET6 && inet_ntop(AF_INET6, &address->v6.sin6_addr, text, sizeof(text)))
        snprintf(out, out_size, "[%s]:%u", text, ntohs(address->v6.sin6_port));
    else
        snprintf(out, out_size, "?");
}
