/* unpack_path.c - what the name of an archive's member may be, and what whiteouts mean. */
#include "image/unpack.h"

#include <limits.h>

static int refuse(struct berm_error *err, const char *what)
{
    return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has a member %s", what);
}

int unpack_path(const char *name, char out[UNPACK_PATH_MAX], struct berm_error *err)
{
    size_t used = 0;
    unsigned depth = 0;
    while (*name) {
        size_t n = strcspn(name, "/");
        bool current = n == 0 || (n == 1 && name[0] == '.');
        if (n == 2 && name[0] == '.' && name[1] == '.')
            return refuse(err, "with '..' in its name");
        if (n > UNPACK_NAME_MAX)
            return refuse(err, "with a name of more than 255 bytes");
        if (!current) {
            if (++depth > UNPACK_DEPTH_MAX)
                return refuse(err, "nested more than 256 directories deep");
            if (used + (used > 0) + n >= UNPACK_PATH_MAX)
                return refuse(err, "with a path of more than 4095 bytes");
            if (used > 0)
                out[used++] = '/';
            memcpy(out + used, name, n);
            used += n;
        }
        name += n + (name[n] == '/');
    }
    out[used] = '\0';
    return 0;
}

int unpack_whiteout(const char *path, enum unpack_whiteout *ret, char target[UNPACK_PATH_MAX],
                    struct berm_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    size_t parent = (size_t)(base - path); /* with its '/' */
    *ret = UNPACK_WHITEOUT_NONE;
    if (!str_has_prefix(str_from(base), STR(".wh.")))
        return 0;
    if (strcmp(base, ".wh..wh..opq") == 0) {
        *ret = UNPACK_WHITEOUT_OPAQUE;
        return str_copy((struct str){ path, parent > 0 ? parent - 1 : 0 }, target, UNPACK_PATH_MAX);
    }
    if (str_has_prefix(str_from(base), STR(".wh..wh."))) {
        *ret = UNPACK_WHITEOUT_IGNORED;
        return 0;
    }
    const char *victim = base + strlen(".wh.");
    if (victim[0] == '\0' || strcmp(victim, ".") == 0 || strcmp(victim, "..") == 0)
        return refuse(err, "that is a whiteout of nothing");
    *ret = UNPACK_WHITEOUT_FILE;
    snprintf(target, UNPACK_PATH_MAX, "%.*s%s", (int)parent, path, victim);
    return 0;
}
