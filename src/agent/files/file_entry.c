#include "file_entry.h"

#include "base/sys.h"

static const char *type_name(mode_t mode)
{
    return S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "directory" : S_ISLNK(mode) ? "symlink" : "other";
}

static void put_mode(struct json_writer *w, mode_t mode)
{
    static const char letters[] = "rwxrwxrwx";
    char text[10];

    for (int i = 0; i < 9; i++)
        text[i] = mode & (1u << (8 - i)) ? letters[i] : '-';
    text[9] = '\0';
    json_pair_cstring(w, "mode", text);
    json_key(w, "permissions");
    json_object_begin(w);
    json_pair_bool(w, "readable", mode & S_IRUSR);
    json_pair_bool(w, "writable", mode & S_IWUSR);
    json_pair_bool(w, "executable", mode & S_IXUSR);
    json_object_end(w);
}

static void put_time(struct json_writer *w, struct timespec time)
{
    char stamp[25];

    format_timestamp((int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000, stamp);
    json_pair_cstring(w, "modifiedAt", stamp);
}

void file_entry_put(struct json_writer *w, const struct stat *st)
{
    json_pair_cstring(w, "type", type_name(st->st_mode));
    json_pair_int(w, "size", st->st_size);
    put_time(w, st->st_mtim);
    put_mode(w, st->st_mode);
}
