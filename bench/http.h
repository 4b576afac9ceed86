/*
 * http.h - the load generator's own HTTP client: blocking, keep-alive, one connection, nothing shared with the
 * server under test except the kernel. It trusts its peer (our own daemon on loopback).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct conn {
    int fd;
    const char *headers; /* further header lines of each request, each with its CRLF; or NULL */
    char *body;          /* of the last response, NUL-terminated; reused */
    size_t body_len;
    size_t body_cap;
    char in[65536];
    size_t in_start, in_len;
};

/* Connects to 127.0.0.1:port; exits the program on failure, as every call here does: a benchmark has no use for
 * less. */
struct conn *conn_open(int port);
void conn_close(struct conn *c);

/* One request, whole response. Returns the status. `body` may be NULL. */
int conn_request(struct conn *c, const char *method, const char *path, const char *content_type, const void *body,
                 size_t body_len);

/* The same with JSON, or without a body for NULL; any other status than `want` ends the program. */
void conn_expect(struct conn *c, const char *method, const char *path, const char *json, int want);
