/* console.c - GET / and /console/{file}: the files of the console, compressed once at build time. */
#include "daemon/console/console.h"

#include "daemon/console/assets.h"

/*
 * The page runs its own files and nothing else, and is shown in nobody's frame. Whatever a sandbox says is put into
 * it as text; HTML of a notebook goes into a frame without scripts, which inherits this policy. The rest of this
 * origin is no source of scripts: below /v1 there are files that sandboxes wrote.
 */
#define CONTENT_POLICY                                                                                             \
    "default-src 'none'; script-src %1$s; style-src %1$s; img-src 'self' data: blob:; connect-src 'self'; "        \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "            \
    "trusted-types berm"

/* "host:port/console/", where the host is one that a policy can name: an IPv6 address is not. NULL without memory.
 */
static const char *files_source(struct request *request)
{
    struct str host = request->head->host;

    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!plain && c != '.' && c != '-' && c != ':')
            return "'self'";
    }
    return host.n ? arena_printf(&request->arena, "%.*s/console/", (int)host.n, host.p) : "'self'";
}

/* One element of Accept-Encoding: "gzip", "*" or "gzip;q=0.5", but not "gzip;q=0". */
static bool element_takes_gzip(struct str element)
{
    const char *semicolon = element.n ? memchr(element.p, ';', element.n) : NULL;
    struct str coding = { element.p, semicolon ? (size_t)(semicolon - element.p) : element.n };
    struct str weight = { coding.p + coding.n, element.n - coding.n };

    coding = str_trim(coding);
    if (!str_eq_nocase(coding, STR("gzip")) && !str_is(coding, "*"))
        return false;
    for (size_t i = 0; i < weight.n; i++)
        if (weight.p[i] >= '1' && weight.p[i] <= '9')
            return true;
    return weight.n == 0;
}

static bool takes_gzip(const struct h1_head *head)
{
    struct str left = h1_header(head, "Accept-Encoding");

    while (left.n) {
        const char *comma = memchr(left.p, ',', left.n);
        struct str element = { left.p, comma ? (size_t)(comma - left.p) : left.n };

        if (element_takes_gzip(element))
            return true;
        left.p += element.n + (comma != NULL);
        left.n -= element.n + (comma != NULL);
    }
    return false;
}

/* An entity tag holds no comma and ours no part of another, so looking for its text is enough. */
static bool is_known(const struct h1_head *head, const char *etag)
{
    struct str known = h1_header(head, "If-None-Match");

    return known.n && memmem(known.p, known.n, etag, strlen(etag));
}

static void send(struct request *request, const struct console_asset *asset)
{
    bool gzip = takes_gzip(request->head);
    const char *etag = gzip ? asset->etag_gzip : asset->etag;
    struct str body = gzip ? asset->gzip : asset->plain;
    const char *source = files_source(request);
    const char *policy = source ? arena_printf(&request->arena, CONTENT_POLICY, source) : NULL;
    const struct http_field fields[] = {
        { "ETag", etag },
        { "Cache-Control", asset->name[0] ? "public, max-age=31536000, immutable" : "no-cache" },
        { "Vary", "Accept-Encoding" },
        { "Content-Security-Policy", policy },
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
        { "Cross-Origin-Opener-Policy", "same-origin" },
        { "Content-Type", asset->type },
        { "Content-Encoding", "gzip" }, /* the last: left out when it is not */
    };

    if (!policy) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    if (is_known(request->head, etag)) {
        request_begin(request, 304, fields, 3, 0);
    } else {
        request_begin(request, 200, fields, ARRAY_SIZE(fields) - !gzip, body.n);
        request_write(request, body);
    }
    request_end(request);
}

static void answer(struct request *request, struct str name)
{
    const struct console_asset *asset = console_asset_find(name);

    if (asset)
        send(request, asset);
    else if (console_asset_find(STR("")))
        request_fail_with(request, BERM_E_NOT_FOUND, "the console has no such file");
    else
        request_fail_with(request, BERM_E_NOT_IMPLEMENTED,
                          "this bermd was built without the web console (-Dconsole=disabled)");
}

void console_page(struct request *request)
{
    answer(request, STR(""));
}

void console_file(struct request *request)
{
    answer(request, request->rest.n ? request->rest : STR("/"));
}
