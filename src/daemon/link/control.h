/* control.h - where the edge asks a daemon over a link, known to both. See uplink.h for what. */
#pragma once

/* No name of a browser's: it is not below any domain. */
#define LINK_CONTROL_HOST "berm-link"
#define LINK_HELLO        "/berm/link/v1/hello"
#define LINK_HOST         "/berm/link/v1/host"
#define LINK_REFUSED      "/berm/link/v1/refused"

#define LINK_CONTROL_MAX  4096 /* of a body, either way */
