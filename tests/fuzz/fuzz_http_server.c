/*
 * fuzz_http_server.c - any bytes sent to a server. 0xff cuts the bytes into sends; what follows a 0xfe closes our
 * side.
 */
#include "server_under_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    for (size_t at = 0, n; at < size; at += n + 1) {
        for (n = 0; at + n < size && data[at + n] < 0xfe; n++)
            ;
        if (n > 0 && send(peer_fd, data + at, n, MSG_NOSIGNAL) < 0)
            break;
        if (at + n < size && data[at + n] == 0xfe)
            shutdown(peer_fd, SHUT_WR);
        turn();
    }
    end();
    return 0;
}
