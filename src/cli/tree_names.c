#include "tree_names.h"

/* The next part between slashes; false at the end. */
static bool next_part(const char **at, struct str *ret)
{
    *at += strspn(*at, "/");
    *ret = (struct str){ *at, strcspn(*at, "/") };
    *at += ret->n;
    return ret->n > 0;
}

bool tree_name_valid(const char *name)
{
    struct str part;

    if (!name || name[0] == '\0' || name[0] == '/')
        return false;
    while (next_part(&name, &part)) {
        if (str_is(part, ".."))
            return false;
    }
    return true;
}

bool tree_name_is_root(const char *name)
{
    struct str part;

    if (!tree_name_valid(name))
        return false;
    while (next_part(&name, &part)) {
        if (!str_is(part, "."))
            return false;
    }
    return true;
}

/*
 * No higher than the root from where the link lies, and no ".." once the target has gone down: behind a name that
 * is a link itself, ".." would start from wherever that one leads ("s -> .", "x -> s/s/../..").
 */
bool tree_link_valid(const char *name, const char *target)
{
    bool down = false;
    struct str part;
    long depth = -1;

    if (!target || target[0] == '\0' || target[0] == '/')
        return false;
    while (next_part(&name, &part))
        depth += !str_is(part, ".");
    while (next_part(&target, &part)) {
        bool up = str_is(part, "..");
        if (up && (down || --depth < 0))
            return false;
        down = down || (!up && !str_is(part, "."));
    }
    return true;
}
