/* options.h - the command line of berm-link. */
#pragma once

#include "link/dial.h"

#include "base/error.h"

struct link_options {
    bool listens;
    int wire; /* descriptors; -1: none */
    const char *host;
    uint16_t port;
    const char *authority; /* NULL: the system's */
    enum dial_transport transport;
    int tcp, udp;
    const char *certificate, *key;
};

int link_options_parse(int argc, char **argv, struct link_options *ret, struct berm_error *err);
