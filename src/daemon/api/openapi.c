/* openapi.c - /v1/openapi*: docs/openapi.json as it was when this was built, and a page that shows it. */
#include "daemon/api/api.h"
#include "openapi_policy.h"
#include "openapi_text.h"

/* Both texts end in a NUL. */
#define TEXT(bytes) ((struct str){ (const char *)(bytes), sizeof(bytes) - 1 })

void api_openapi_json(struct request *request)
{
    request_respond(request, 200, "application/json", TEXT(openapi_json));
}

void api_openapi_page(struct request *request)
{
    static const struct http_field fields[] = {
        { "Content-Type", "text/html; charset=utf-8" }, { "Content-Security-Policy", OPENAPI_PAGE_POLICY },
        { "Referrer-Policy", "no-referrer" }, /* the address may hold a key */
        { "X-Content-Type-Options", "nosniff" },        { "Cache-Control", "no-store" },
    };
    struct str page = TEXT(openapi_page);

    request_begin(request, 200, fields, ARRAY_SIZE(fields), page.n);
    request_write(request, page);
    request_end(request);
}
