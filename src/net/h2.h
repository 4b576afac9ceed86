/*
 * h2.h - HTTP/2 for a server (nghttp2), behind the interface of server.h: no handler knows which version it
 * answers.
 *
 * Theory of operation: each stream is an exchange. Its request is written down as a head of HTTP/1.1 and read by
 * the same strict parser, so that there is one set of rules for what a request may be, and nothing that was
 * smuggled in by HTTP/2 can mean something else behind us; a body of unknown length looks chunked. The head of a
 * response goes the other way. A WebSocket by extended CONNECT (RFC 8441) looks like an upgrade of HTTP/1.1;
 * whoever takes it over gets one end of a socket pair. Flow control is what on_body, http_body_pause(), high_water
 * and on_drain say, for each stream on its own. Deadlines hold per stream, and a stream that fails is reset while
 * the connection goes on. Draining sends GOAWAY and ends with the last stream. A client that costs more than it
 * asks for (resets, pings, settings, empty frames, streams that it makes us reset) is cut off with
 * ENHANCE_YOUR_CALM.
 */
#pragma once

#include "net/server.h"

/*
 * From now on connections of this server speak HTTP/2 if they begin with its preface (prior knowledge), or agreed
 * on "h2" in TLS. http_server_listen_tls() does this itself.
 */
void http_server_enable_h2(struct http_server *server);
