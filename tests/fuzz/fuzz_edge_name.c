/* The input is a Host field, a NUL, and a domain: nothing may be read beyond them, and a preview's parts are
 * inside. */
#include "daemon/edge/name.h"
#include "daemon/link/name.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct str part, struct str whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    struct str host = { (const char *)data, nul ? (size_t)(nul - data) : size };
    struct str domain = nul ? (struct str){ (const char *)nul + 1, size - host.n - 1 } : STR("localhost");
    char daemon[LINK_NAME_MAX + 1];
    struct edge_name name;
    struct str label;

    edge_name_parse(host, domain, &name);
    if (name.kind == EDGE_NAME_PREVIEW && (!inside(name.sandbox, host) || !inside(name.token, host)))
        abort();
    if (name.kind == EDGE_NAME_TUNNEL && !inside(name.label, host))
        abort();
    if (link_label_split(host, &label, daemon) == 0 &&
        (!inside(label, host) || label.n == 0 || label.n + 1 + strlen(daemon) != host.n ||
         !link_name_valid(str_from(daemon))))
        abort();
    edge_tunnel_valid(host);
    edge_token_valid(host);
    return 0;
}
