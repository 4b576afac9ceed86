#include "cli/clean.h"

#include "base/utf8.h"

#define REPLACEMENT 0xfffd /* stands for bytes that are no character */

static bool is_harmless(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } harmful[] = { { 0, 0x1f },        { 0x7f, 0x9f },     { 0x61c, 0x61c },
                    { 0x200e, 0x200f }, { 0x2028, 0x202e }, { 0x2066, 0x2069 } };

    for (size_t i = 0; i < ARRAY_SIZE(harmful); i++)
        if (c >= harmful[i].first && c <= harmful[i].last)
            return false;
    return true;
}

static int put_instead(struct buf *out, uint32_t c, enum clean_way way)
{
    if (way == CLEAN_TEXT && (c == '\n' || c == '\t'))
        return buf_append(out, c == '\n' ? "\n" : "\t", 1);
    if (way == CLEAN_JSON && c >= 0x20)
        return buf_printf(out, "\\u%04x", (unsigned)c);
    return buf_append(out, way == CLEAN_JSON || c == '\n' || c == '\r' || c == '\t' ? " " : "?", 1);
}

int clean_append(struct buf *out, struct str text, enum clean_way way)
{
    const unsigned char *p = (const unsigned char *)text.p;

    for (size_t i = 0; i < text.n;) {
        int n = utf8_sequence(p + i, text.n - i);
        size_t size = n > 0 ? (size_t)n : n < 0 ? (size_t)-n : text.n - i;
        uint32_t c = n > 0 ? utf8_code_point(p + i, n) : REPLACEMENT;
        int rc = n > 0 && is_harmless(c) ? buf_append(out, text.p + i, size) : put_instead(out, c, way);

        if (rc < 0)
            return -1;
        i += size;
    }
    return 0;
}
