#include "make_parents.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static bool is_directory(int base, const char *path)
{
    struct stat st;

    return fstatat(base, path, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static int make_one(int base, const char *path)
{
    int saved;

    if (mkdirat(base, path, 0777) == 0)
        return 0;
    saved = errno;
    /* Read-only file systems say EROFS also for what is there. */
    if (is_directory(base, path))
        return 0;
    errno = saved;
    return -1;
}

/* `path` is changed while this runs. */
static int make_each(int base, char *path)
{
    for (char *at = path + 1; *at; at++) {
        int rc;
        if (*at != '/' || at[-1] == '/')
            continue;
        *at = '\0';
        rc = make_one(base, path);
        *at = '/';
        if (rc < 0)
            return -1;
    }
    return make_one(base, path);
}

int make_directories(int base, const char *path)
{
    char copy[PATH_MAX];

    if (path[0] == '\0' || is_directory(base, path))
        return 0;
    if (str_copy(str_from(path), copy, sizeof(copy)) < 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return make_each(base, copy);
}

int make_parents(int base, const char *path)
{
    const char *slash;
    size_t n = strlen(path);
    char parent[PATH_MAX];

    while (n > 0 && path[n - 1] == '/')
        n--;
    slash = memrchr(path, '/', n);
    if (!slash || slash == path)
        return 0;
    if (str_copy((struct str){ path, (size_t)(slash - path) }, parent, sizeof(parent)) < 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return make_directories(base, parent);
}
