/* extensions.h - for router.c: the routes below /v1/sandbox/{id} that lead to one of the control server's. */
#pragma once

#include "daemon/api/api.h"

#define EXTENSIONS_MAX 48

/* All of them, by index below the count. They last. */
size_t extension_count(void);
const struct route *extension_route(size_t index);
