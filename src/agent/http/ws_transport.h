/*
 * ws_transport.h - the routes over one WebSocket (/ws, /api/ws).
 *
 * Theory of operation: nothing of a route is done twice. Each request of a client becomes an HTTP exchange with our
 * own server, over a pair of sockets whose other end the server adopts as it would a client; so methods, paths,
 * errors, limits and the end of a client mean here exactly what they mean there, and internal routes cannot be
 * reached. An answer becomes one message; an answer of server-sent events becomes one message an event and a last
 * one at its end.
 *   - cancel: the connection of a stream is closed, which is what detaches an HTTP client from it;
 *   - back-pressure: a client that does not read pauses its exchanges, and they their producers;
 *   - the end of a WebSocket closes its streams; other requests run to their end, and nobody gets their answers.
 */
#pragma once

struct agent;
struct ws_channel;

struct ws_transport {
    struct ws_channel *channels;
};
