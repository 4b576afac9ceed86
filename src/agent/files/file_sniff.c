#include "file_sniff.h"

#include "base/json.h"

#define UNKNOWN "application/octet-stream"

static const struct {
    size_t offset;
    struct str bytes;
    const char *type;
} magics[] = {
    { 0, { "\x89PNG\r\n\x1a\n", 8 }, "image/png" },
    { 0, { "\xff\xd8\xff", 3 }, "image/jpeg" },
    { 0, { "GIF87a", 6 }, "image/gif" },
    { 0, { "GIF89a", 6 }, "image/gif" },
    { 8, { "WEBP", 4 }, "image/webp" },
    { 0, { "BM", 2 }, "image/bmp" },
    { 0, { "%PDF-", 5 }, "application/pdf" },
    { 0, { "PK\x03\x04", 4 }, "application/zip" },
    { 0, { "\x1f\x8b", 2 }, "application/gzip" },
    { 0, { "BZh", 3 }, "application/x-bzip2" },
    { 0,
      { "\xfd"
        "7zXZ\0",
        6 },
      "application/x-xz" },
    { 0, { "\x28\xb5\x2f\xfd", 4 }, "application/zstd" },
    { 257, { "ustar", 5 }, "application/x-tar" },
    { 0, { "SQLite format 3\0", 16 }, "application/vnd.sqlite3" },
    { 0, { "\0asm", 4 }, "application/wasm" },
};

static const struct {
    const char *word; /* in the first line */
    const char *type;
} interpreters[] = {
    { "python", "text/x-script.python" }, { "perl", "text/x-perl" },        { "ruby", "text/x-ruby" },
    { "node", "application/javascript" }, { "awk", "text/x-awk" },          { "bash", "text/x-shellscript" },
    { "/sh", "text/x-shellscript" },      { " sh", "text/x-shellscript" },  { "zsh", "text/x-shellscript" },
    { "ksh", "text/x-shellscript" },      { "dash", "text/x-shellscript" },
};

static const char *by_magic(struct str s)
{
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
        size_t end = magics[i].offset + magics[i].bytes.n;
        if (s.n >= end && memcmp(s.p + magics[i].offset, magics[i].bytes.p, magics[i].bytes.n) == 0)
            return magics[i].type;
    }
    return NULL;
}

static const char *elf_type(struct str s)
{
    static const char *const types[] = { UNKNOWN, "application/x-object", "application/x-executable",
                                         "application/x-sharedlib", "application/x-coredump" };
    unsigned type;

    if (s.n < 20 || memcmp(s.p,
                           "\x7f"
                           "ELF",
                           4) != 0)
        return NULL;
    /* e_type, in the byte order that e_ident says. */
    type = s.p[5] == 2 ? (unsigned char)s.p[17] : (unsigned char)s.p[16];
    return type < ARRAY_SIZE(types) ? types[type] : UNKNOWN;
}

/* A byte that no text has, in the view of file(1). */
static bool is_binary_byte(unsigned char c)
{
    return (c < 0x20 && !(c >= '\a' && c <= '\r') && c != 0x1b) || c == 0x7f;
}

/* UTF-8, perhaps cut off at its end, or else one of the eight-bit character sets. */
static bool is_text(struct str s, bool whole)
{
    bool utf8 = true;
    bool latin = true;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_binary_byte(c))
            return false;
        latin &= c < 0x80 || c >= 0xa0;
    }
    for (size_t i = 0; i < s.n && utf8;) {
        int n = utf8_sequence((const unsigned char *)s.p + i, s.n - i);
        utf8 = n > 0 || (n == 0 && !whole);
        i += n > 0 ? (size_t)n : s.n;
    }
    return utf8 || latin;
}

static bool starts_with(struct str s, const char *word)
{
    size_t n = strlen(word);

    return s.n >= n && str_eq_nocase((struct str){ s.p, n }, (struct str){ word, n });
}

static bool is_json(struct str s)
{
    struct arena arena;
    const struct json *value;
    bool is;

    if (s.n == 0 || (s.p[0] != '{' && s.p[0] != '['))
        return false;
    arena_init(&arena, 64 * FILE_SNIFF_BYTES);
    is = json_parse(&arena, s, JSON_MAX_DEPTH, &value, NULL) == 0;
    arena_free(&arena);
    return is;
}

static const char *script_type(struct str s)
{
    const char *end = memchr(s.p, '\n', s.n);
    size_t n = end ? (size_t)(end - s.p) : s.n;

    if (!starts_with(s, "#!"))
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(interpreters); i++)
        if (memmem(s.p, n, interpreters[i].word, strlen(interpreters[i].word)))
            return interpreters[i].type;
    return NULL;
}

static const char *text_type(struct str s, bool whole)
{
    const char *script = script_type(s);

    if (script)
        return script;
    if (starts_with(s, "<?xml"))
        return "text/xml";
    if (starts_with(s, "<!doctype html") || starts_with(s, "<html"))
        return "text/html";
    return whole && is_json(s) ? "application/json" : "text/plain";
}

const char *file_sniff(struct str s, bool whole)
{
    const char *type = by_magic(s);

    if (!type)
        type = elf_type(s);
    if (type)
        return type;
    if (s.n == 0)
        return "inode/x-empty";
    if (s.n == 1)
        return UNKNOWN; /* file(1) wants more to go on, too */
    if (starts_with(s, "\xff\xfe") || starts_with(s, "\xfe\xff"))
        return "text/plain"; /* UTF-16 with a mark */
    return is_text(s, whole) ? text_type(s, whole) : UNKNOWN;
}
