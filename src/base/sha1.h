/*
 * sha1.h - SHA-1 (FIPS 180-4), for the WebSocket handshake and nothing else: it proves that a server has understood
 * a request. No secret and no signature may ever rest on it.
 */
#pragma once

#include "base.h"

#define SHA1_SIZE 20

void sha1(struct str message, uint8_t ret[SHA1_SIZE]);
