#include "log.h"

#include "loop.h"
#include "sys.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#define LINE_MAX_BYTES 4096
#define LINE_RESERVE   64 /* values end before it, so that the quote, the brace and the newline always fit */

static struct {
    const char *program;
    enum log_level level;
    bool json;
    bool journald;
} config = { "berm", LOG_LEVEL_INFO, false, false };

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const char journald_prefix[] = "3467"; /* RFC 5424 severities: err, warning, info, debug */

/* The variable is inherited, the journal perhaps not: the rule is that device and inode are compared. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[48];
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st) < 0)
        return false;
    snprintf(ours, sizeof(ours), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    return strcmp(stream, ours) == 0;
}

void log_setup(const char *program, enum log_level level, bool json)
{
    config.program = program;
    config.level = level;
    config.json = json;
    config.journald = stderr_is_journal();
}

bool log_enabled(enum log_level level)
{
    return level <= config.level;
}

const char *log_num(long long value)
{
    static char ring[16][24];
    static unsigned next;
    char *slot = ring[next++ % ARRAY_SIZE(ring)];

    snprintf(slot, sizeof(ring[0]), "%lld", value);
    return slot;
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t n;
};

static void put(struct line *line, const char *p, size_t n)
{
    size_t room = sizeof(line->text) - 8 - line->n; /* what ends the line always fits */

    if (n > room)
        n = room;
    memcpy(line->text + line->n, p, n);
    line->n += n;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/*
 * Control bytes, quotes and everything that is not plain ASCII leave as \u00XX: a value can never end its line. A
 * value that is too long is cut, but not within an escape.
 */
static void put_escaped(struct line *line, const char *value)
{
    char escape[8];

    for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
        if (line->n >= sizeof(line->text) - LINE_RESERVE)
            return;
        if (*c < 0x20 || *c >= 0x7f || *c == '"' || *c == '\\') {
            snprintf(escape, sizeof(escape), "\\u%04x", *c);
            put(line, escape, 6);
        } else {
            put(line, (const char *)c, 1);
        }
    }
}

static bool is_plain(const char *value)
{
    for (const unsigned char *c = (const unsigned char *)value; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || *c == '"' || *c == '\\' || *c == '=')
            return false;
    return *value != '\0';
}

static void put_pair(struct line *line, const char *key, const char *value)
{
    bool quote = config.json || !is_plain(value);

    if (line->n + strlen(key) + LINE_RESERVE > sizeof(line->text))
        return;
    if (config.json) {
        put_text(line, line->text[line->n - 1] == '{' ? "\"" : ",\"");
        put_text(line, key);
        put_text(line, "\":");
    } else {
        put_text(line, " ");
        put_text(line, key);
        put_text(line, "=");
    }
    if (quote)
        put_text(line, "\"");
    put_escaped(line, value);
    if (quote)
        put_text(line, "\"");
}

void log_event(enum log_level level, const char *event, ...)
{
    struct line line = { .n = 0 };
    char stamp[25];
    const char *key;
    va_list args;

    if (!log_enabled(level))
        return;
    format_timestamp(clock_realtime_ms(), stamp);
    if (config.journald) { /* it takes the priority off the line */
        put_text(&line, "<");
        put(&line, &journald_prefix[level], 1);
        put_text(&line, ">");
    }
    if (config.json) {
        put_text(&line, "{");
        put_pair(&line, "ts", stamp);
    } else {
        put_text(&line, stamp);
    }
    put_pair(&line, "level", level_names[level]);
    put_pair(&line, "program", config.program);
    put_pair(&line, "event", event);
    va_start(args, event);
    while ((key = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);
        if (value)
            put_pair(&line, key, value);
    }
    va_end(args);
    memcpy(line.text + line.n, config.json ? "}\n" : "\n", config.json ? 2 : 1);
    line.n += config.json ? 2 : 1;
    write_all(STDERR_FILENO, line.text, line.n);
}
