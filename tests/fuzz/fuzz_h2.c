/*
 * fuzz_h2.c - frames of HTTP/2 sent to a server. An input is a list of them, each type, flags, stream and length,
 * one byte each, and as many bytes; of type 0xff are bytes that are sent as they are. What is before nghttp2 and
 * behind it is ours: heads between the two versions, streams as exchanges, tunnels.
 */
#include "server_under_fuzz.h"

#include "net/h2.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    http_server_enable_h2(server);
    /* The array's own NUL is the settings frame's last byte. */
    send(peer_fd, preface, sizeof(preface), MSG_NOSIGNAL);
    for (size_t at = 0; at + 4 <= size;) {
        const uint8_t *record = data + at;
        size_t n = MIN((size_t)record[3], size - at - 4);
        const uint8_t head[9] = { 0, 0, (uint8_t)n, record[0], record[1], 0, 0, 0, record[2] };

        if (record[0] != 0xff && send(peer_fd, head, sizeof(head), MSG_NOSIGNAL) < 0)
            break;
        if (n > 0 && send(peer_fd, record + 4, n, MSG_NOSIGNAL) < 0)
            break;
        at += 4 + n;
        if (record[2] % 2 == 0)
            turn();
    }
    turn();
    end();
    return 0;
}
