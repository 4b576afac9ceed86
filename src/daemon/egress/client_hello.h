/*
 * client_hello.h - which server a TLS client asks for: the SNI of its first message. Pure.
 *
 * Strict where a lax reader could see another name than the server will: one ClientHello, perhaps over several
 * records of the handshake type and nothing else between them; every length exact; one server_name extension with
 * one host name, of letters, digits, hyphens, underscores and dots (RFC 6066 wants ASCII; an address is no name).
 */
#pragma once

#include "base/base.h"

#define CLIENT_HELLO_MAX    16384 /* bytes on the wire; beyond it is refused */
#define HOST_NAME_MAX_BYTES 253

/*
 * > 0: the ClientHello is complete and took that many bytes; *ret_name is the name in lower case in `storage`, or
 * empty when the client named none. 0: more bytes are needed. -1: this is no TLS client, or one to refuse.
 */
ssize_t client_hello_parse(const char *p, size_t n, char storage[HOST_NAME_MAX_BYTES + 1], struct str *ret_name);

/* A dot at the end goes away, capitals become small. -1: not a name of a host (an address is none). */
int host_name_normalize(struct str name, char out[HOST_NAME_MAX_BYTES + 1], struct str *ret);
