#include "daemon/api/paths.h"

#include "net/h1.h"

#define PATH_LONGEST 4096

static char *drop_last(char *start, char *end)
{
    while (end > start && *--end != '/')
        ;
    return end;
}

/* `out` holds an absolute normalised prefix up to `end` ("" stands for "/"); appends the components of `path`. */
static char *append_components(char *start, char *end, struct str path)
{
    size_t at = 0;

    while (at < path.n) {
        const char *slash = memchr(path.p + at, '/', path.n - at);
        struct str part = { path.p + at, slash ? (size_t)(slash - path.p) - at : path.n - at };

        at += part.n + 1;
        if (part.n == 0 || str_is(part, "."))
            continue;
        if (str_is(part, "..")) {
            end = drop_last(start, end);
            continue;
        }
        *end++ = '/';
        memcpy(end, part.p, part.n);
        end += part.n;
    }
    return end;
}

char *path_normalise(struct arena *arena, struct str path, const char *base)
{
    char *out, *end;

    if (path.n > PATH_LONGEST || (path.n && memchr(path.p, '\0', path.n)))
        return NULL;
    out = arena_alloc(arena, strlen(base) + path.n + 3);
    if (!out)
        return NULL;
    end = out;
    if (path.n == 0 || path.p[0] != '/')
        end = append_components(out, end, str_from(base));
    end = append_components(out, end, path);
    if (end == out)
        *end++ = '/';
    *end = '\0';
    return out;
}

char *path_from_url(struct arena *arena, struct str rest)
{
    char *decoded = arena_alloc(arena, rest.n + 1);

    if (!decoded || percent_decode(rest, decoded, rest.n + 1) < 0)
        return NULL;
    return path_normalise(arena, str_from(decoded), "/");
}

bool path_in_workspace(const char *path)
{
    size_t n = strlen(WORKSPACE);

    return !strncmp(path, WORKSPACE, n) && (path[n] == '/' || path[n] == '\0');
}

char *path_encode(struct arena *arena, const char *path)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, 3 * strlen(path) + 1);
    char *end = out;

    if (!out)
        return NULL;
    for (const unsigned char *c = (const unsigned char *)path; *c; c++) {
        bool plain =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-._~/", *c);

        if (plain) {
            *end++ = (char)*c;
            continue;
        }
        *end++ = '%';
        *end++ = digits[*c >> 4];
        *end++ = digits[*c & 15];
    }
    *end = '\0';
    return out;
}
