#include "mime.h"

#include "mime_table.h"

static const char *extension_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');

    /* ".bashrc" is a name without an extension. */
    return dot && dot > name ? dot + 1 : "";
}

const char *mime_by_name(const char *path)
{
    const char *extension = extension_of(path);
    size_t low = 0, high = ARRAY_SIZE(mime_rows);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(extension, mime_text + mime_rows[middle].extension);
        if (order == 0)
            return mime_text + mime_rows[middle].type;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

bool mime_is_text(const char *type)
{
    static const char *const application[] = {
        "ecmascript",    "javascript",   "json",    "json-seq",    "rtf",          "sql",
        "toml",          "typescript",   "x-empty", "x-httpd-php", "x-javascript", "x-sh",
        "x-shellscript", "x-typescript", "x-yaml",  "xml",         "xml-dtd",      "xml-external-parsed-entity",
        "yaml"
    };

    if (strncmp(type, "text/", 5) == 0 || ends_with(type, "+json") || ends_with(type, "+xml") ||
        strcmp(type, "inode/x-empty") == 0)
        return true;
    if (strncmp(type, "application/", 12) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(application); i++)
        if (strcmp(type + 12, application[i]) == 0)
            return true;
    return false;
}
