/* dir_reader.c - the names in a directory, one after the other. */
#include "image/store.h"

#include <fcntl.h>

int dir_reader_open(struct dir_reader *r, int dirfd, const char *path)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    r->dir = NULL;
    if (fd < 0)
        return -1;
    r->dir = fdopendir(fd);
    if (!r->dir)
        return -1;
    (void)TAKE_FD(fd);
    return 0;
}

const char *dir_reader_next(struct dir_reader *r)
{
    for (struct dirent *entry; (entry = readdir(r->dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    return NULL;
}

void dir_reader_rewind(struct dir_reader *r)
{
    rewinddir(r->dir);
}

int dir_reader_fd(const struct dir_reader *r)
{
    return dirfd(r->dir);
}

void dir_reader_close(struct dir_reader *r)
{
    if (r->dir)
        closedir(r->dir);
    r->dir = NULL;
}
